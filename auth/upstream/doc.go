// Package upstream is how ways to log in ask other systems over HTTP: those that
// issue tokens, and those that say whether one still counts.
//
// Everything is bounded: the time, the answer's size, the connections kept. A
// redirect is not followed, since what was configured is what is trusted. What
// goes wrong is told by where it happened, never with what was sent or came.
package upstream
