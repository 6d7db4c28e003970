# Counts far more than anybody waits for.
package vwire

request if {
	numbers := numbers.range(1, 3000)
	count([1 | some a in numbers; some b in numbers; a + b == input.time]) > 1
}
