package fsm

import (
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// recentRequests is how many request ids are kept in memory at least, if so
// many were added.
const recentRequests = 1 << 15

// requestCache knows all request ids later than a time, so that a fresh one
// needs no look into the database to be known as such. ApplyBatch alone uses it.
type requestCache struct {
	young, old map[string]storedReply
	// latest are the latest times of the ids in the two.
	latest [2]int64
	// before is the time in Unix milliseconds up to which ids may be in the
	// database that are not here.
	before int64
	// floor is the time below which ids have been removed.
	floor int64
}

// find looks for an id. If it, or its reply, is not known, known is false.
func (c *requestCache) find(id []byte, ms int64) (reply storedReply, ok, known bool) {
	if ms < c.floor {
		return storedReply{}, false, true
	}
	if reply, ok = c.young[string(id)]; !ok {
		reply, ok = c.old[string(id)]
	}
	if ok {
		return reply, true, !reply.apart
	}
	return storedReply{}, false, ms > c.before
}

// add takes the ids that a batch has added, and the floor that it moved.
func (c *requestCache) add(ids []storedID, floor int64) {
	c.floor = max(c.floor, floor)
	if len(c.young) >= recentRequests {
		c.before = max(c.before, c.latest[1])
		c.old, c.young = c.young, nil
		c.latest = [2]int64{0, c.latest[0]}
	}
	if c.young == nil {
		c.young = make(map[string]storedReply)
	}
	for i := range ids {
		reply := ids[i].reply
		if len(reply.reply) > 0 { // replies are as large as answers: they stay in the database
			reply = storedReply{apart: true}
		}
		c.young[ids[i].id] = reply
		c.latest[0] = max(c.latest[0], requestTime([]byte(ids[i].id)))
	}
}

// storedID is a request id and what was answered.
type storedID struct {
	id    string
	reply storedReply
}

// load forgets all ids and finds out how late those of a database are.
func (c *requestCache) load(db *pebble.DB) (err error) {
	*c = requestCache{}
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{spaceRequest}, UpperBound: []byte{spaceRequest + 1}})
	if err != nil {
		return err
	}
	if it.Last() {
		c.before = requestTime(it.Key()[1:])
	}
	return it.Close()
}

// tooEarly is the time in Unix milliseconds before which ids are not remembered.
func tooEarly(now int64) int64 {
	return now/int64(time.Millisecond) - RequestRetention.Milliseconds()
}
