# Keeps far more than it may have.
package vwire

request if {
	numbers := numbers.range(1, 2000)
	count({[a, b, input.client] | some a in numbers; some b in numbers}) > 1
}
