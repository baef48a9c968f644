// Package audit writes down every request and every answer, on devices that
// are files, streams, or other servers.
//
// Invariants:
//
//   - A record is written by an allow-list: what is not known to be harmless
//     stands in it as an HMAC under a key that only its device has, if at all.
//     Numbers and booleans stand plain unless their field is marked secret.
//   - A record is one line of printable JSON, whatever the caller sent.
//   - A request that may change something goes on, and an answer leaves, only
//     when at least one device has taken the record. A request that can only
//     read goes on when its record is in the queues: its answer waits for both
//     records. With no device enabled nothing is recorded.
//   - No device makes a request wait for another: each has a queue and a
//     goroutine of its own, and one that fails or hangs is passed over.
//   - What the API can do to files is to append records to files in one folder.
//
// Lock order: Broker.mu, then device.mu. Neither is held while a device writes.
package audit
