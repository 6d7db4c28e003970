# Keeps far more than it may have.
package vwire

request if {
	many := numbers.range(1, 2000)
	count({[a, b, input.client] | some a in many; some b in many}) > 1
}
