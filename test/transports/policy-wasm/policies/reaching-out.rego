# Asks somebody else, at a time of its own.
package vwire

request if {
	http.send({"method": "get", "url": "http://127.0.0.1:1/"}).status_code == 200
	time.now_ns() > 0
}
