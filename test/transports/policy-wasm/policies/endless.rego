# Counts far more than anybody waits for.
package vwire

request if {
	many := numbers.range(1, 3000)
	count([1 | some a in many; some b in many; a + b == input.time]) > 1
}
