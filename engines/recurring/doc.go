// Package recurring says when something that an engine keeps is changed: after a
// period, or at the times of a schedule. It is the fields rotation_period,
// rotation_schedule and rotation_window, their checks, and the next time.
//
// A window says how long after a time of the schedule the change may still begin;
// a time whose window is over is passed over, and the next one counts. All times
// of schedules are UTC. Nothing here has a clock: callers say what time it is.
package recurring
