package cluster

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// What raft-wal writes in a segment: a header, then frames, each with a type in
// its first byte and a length, or a checksum, in its last four. The checksum of
// a commit covers everything since the commit before it.
const (
	walFileHeader  = 32
	walFrameHeader = 8
)

// mendWAL brings the last segment of a log to where the library can go on,
// which it cannot from everywhere a crash may leave it: it takes a segment that
// was sealed, but not yet followed by another, for one that can be appended to,
// and also one whose seal was cut off for sealed; either refuses every append
// for ever. And it leaves behind what it takes back, where later appends may
// run into it.
func mendWAL(dir string, meta *metadb.BoltMetaDB, segmentBytes int) error {
	state, err := meta.Load(dir)
	if err != nil || len(state.Segments) == 0 {
		return err
	}
	last := &state.Segments[len(state.Segments)-1]
	if !last.SealTime.IsZero() {
		return nil
	}
	tail, err := mendSegment(filepath.Join(dir, segment.FileName(*last)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the library makes it
	}
	if err != nil || tail.index == 0 {
		return err
	}
	now := time.Now()
	last.SealTime, last.IndexStart, last.MaxIndex = now, tail.index, last.BaseIndex+tail.entries-1
	next := types.SegmentInfo{
		ID: state.NextSegmentID, BaseIndex: last.MaxIndex + 1, MinIndex: last.MaxIndex + 1,
		SizeLimit: uint32(segmentBytes), Codec: last.Codec, CreateTime: now,
	}
	state.NextSegmentID++
	state.Segments = append(state.Segments, next)
	return meta.CommitState(state)
}

// walTail is where the sound part of a segment ends.
type walTail struct {
	end     int    // behind the last commit
	entries uint64 // up to there
	index   uint64 // where the index of a sealed segment begins; 0: not sealed
}

// mendSegment removes an append that was cut off, for good.
func mendSegment(path string) (walTail, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return walTail{}, err
	}
	tail, err := scanSegment(data)
	if err != nil {
		return walTail{}, fmt.Errorf("%w: segment %s: %w", ErrCorrupt, filepath.Base(path), err)
	}
	dirty := len(data)
	for dirty > tail.end && data[dirty-1] == 0 {
		dirty--
	}
	if dirty == tail.end {
		return tail, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return walTail{}, err
	}
	_, err = f.WriteAt(make([]byte, dirty-tail.end), int64(tail.end))
	if err == nil {
		err = f.Sync()
	}
	return tail, errors.Join(err, f.Close())
}

// errWALDamaged is a segment whose end cannot be the work of one append that
// was cut off.
var errWALDamaged = errors.New("it is damaged before its end")

// scanSegment finds the last append that is whole. Only the one after it can
// have been cut off, since each is synced before the next: if another whole one
// follows, something else has damaged the file.
func scanSegment(data []byte) (walTail, error) {
	var sound, now walTail
	since := 0 // the last commit
	for at := walFileHeader; at+walFrameHeader <= len(data); {
		size := 0
		switch word := binary.LittleEndian.Uint32(data[at+4:]); data[at] {
		case segment.FrameEntry:
			now.entries++
			size = int(word)
		case segment.FrameIndex:
			now.index = uint64(at + walFrameHeader)
			size = int(word)
		case segment.FrameCommit:
			if castagnoli(data[since:at]) != word {
				return sound, wholeAfter(data, sound.end)
			}
			now.end = at + walFrameHeader
			sound, since = now, now.end
		default:
			return sound, wholeAfter(data, sound.end)
		}
		at += walFrameHeader + (size+walFrameHeader-1)/walFrameHeader*walFrameHeader
	}
	return sound, wholeAfter(data, sound.end)
}

// wholeAfter looks for a whole append that does not begin where the last sound
// one ends.
func wholeAfter(data []byte, end int) error {
	since := -1
	for at := max(end, walFileHeader); at+walFrameHeader <= len(data); at += walFrameHeader {
		if data[at] != segment.FrameCommit || data[at+1] != 0 || data[at+2] != 0 || data[at+3] != 0 {
			continue
		}
		if since >= 0 && at > since && castagnoli(data[since:at]) == binary.LittleEndian.Uint32(data[at+4:]) {
			return errWALDamaged
		}
		since = at + walFrameHeader
	}
	return nil
}
