# What teams may use and serve, by the documents beneath `data`.
package vwire

default request := {"allow": false, "reason": "no team may use it"}

request := {"allow": false, "reason": sprintf("%s is quarantined", [input.client])} if {
	input.labels.quarantined == "yes"
} else if {
	input.service in data.teams[input.labels.team].services
}

default close := false

close if startswith(input.peer, "spiffe://home.test/")

default register := false

register if every offer in input.offers {
	some owner in data.owners[offer.service]
	owner == input.client
}

default monitor := false

monitor if count(input.connectionIds) == 1

# The client has got its token for whoever stands next, and it ends within the hour.
default unregister := false

unregister if {
	[first, next] := input.path
	first.sub == input.client
	next.sub in first.aud
	first.exp - input.time < 3600
	not "token" in object.keys(first)
}
