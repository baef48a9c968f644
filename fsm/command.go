package fsm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/coffer-secrets/coffer/fsm/fsmpb"
)

// Bounds of a command. One beyond them is answered Invalid, whoever proposed
// it, on every replica alike.
const (
	MaxKeyBytes     = 4 << 10  // a row key or prefix
	MaxOwnerBytes   = 1 << 10  // the owner of a row
	MaxCommandBytes = 8 << 20  // a whole encoded command
	MaxOps          = 16 << 10 // checks and writes together
)

// MinTable and MaxTable bound the first byte of every row key, which names the
// table that the row belongs to.
const (
	MinTable = 0x20
	MaxTable = 0x7e
)

// requestIDBytes is the length of a request id, and requestTimeBytes of the
// Unix milliseconds that it begins with.
const (
	requestIDBytes   = 16
	requestTimeBytes = 6
)

// Code classifies the outcome of a command.
type Code uint8

const (
	// OK: every check held and every write is in the store.
	OK Code = iota
	// Conflict: the check numbered Result.Failed did not hold; nothing changed.
	Conflict
	// Duplicate: a command with this request id was applied before, at
	// Result.Index and with Result.Reply; nothing changed.
	Duplicate
	// StaleTerm: the fencing term is not that of the log entry; nothing changed.
	StaleTerm
	// TooOld: the request id is older than ids are remembered, so that whether
	// it was applied cannot be told; nothing changed.
	TooOld
	// Invalid: the command is malformed or out of bounds; nothing changed.
	Invalid
)

// String names the code.
func (c Code) String() string {
	switch c {
	case OK:
		return "ok"
	case Conflict:
		return "conflict"
	case Duplicate:
		return "duplicate"
	case StaleTerm:
		return "stale term"
	case TooOld:
		return "too old"
	case Invalid:
		return "invalid"
	default:
		return fmt.Sprintf("code %d", uint8(c))
	}
}

// Result is what became of one entry.
type Result struct {
	Code Code
	// Index is the Raft index of the entry; for Duplicate, that of the original.
	Index uint64
	// Reply is, for Duplicate only, the reply kept with the original.
	Reply []byte
	// Failed is, for Conflict only, the position of the first check that failed.
	Failed int
}

// Entry is one committed log entry. An entry without data (a change of the
// Raft configuration) only moves the applied index.
type Entry struct {
	Index, Term uint64
	Data        []byte
}

// ErrInvalid is wrapped by the errors of Validate and Encode.
var ErrInvalid = errors.New("invalid command")

// errUnknown marks a command from a newer version than this one. It is never
// an answer: the node halts.
var errUnknown = errors.New("command of an unknown version, kind or form")

// Encode checks a command and marshals it for the log. The error wraps
// ErrInvalid.
func Encode(cmd *fsmpb.Command) ([]byte, error) {
	if err := Validate(cmd); err != nil {
		return nil, err
	}
	data, err := proto.Marshal(cmd)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if len(data) > MaxCommandBytes {
		return nil, invalid("%d bytes encoded, the limit is %d", len(data), MaxCommandBytes)
	}
	return data, nil
}

// Decode parses a command as Encode made it. An error means that this version
// cannot know what the command asks for.
func Decode(data []byte) (*fsmpb.Command, error) {
	cmd := new(fsmpb.Command)
	if err := proto.Unmarshal(data, cmd); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnknown, err)
	}
	if v := cmd.GetVersion(); v == 0 || v > CommandVersion {
		return nil, fmt.Errorf("%w: version %d, this release knows %d: the node needs the release that the others run", errUnknown, v, CommandVersion)
	}
	if Needs(cmd) > CommandVersion {
		return nil, fmt.Errorf("%w: kind %q", errUnknown, cmd.GetKind())
	}
	if hasUnknown(cmd) {
		return nil, fmt.Errorf("%w: unknown field or operation", errUnknown)
	}
	return cmd, nil
}

// hasUnknown reports fields and operations that this version does not know.
func hasUnknown(cmd *fsmpb.Command) bool {
	if len(cmd.ProtoReflect().GetUnknown()) > 0 {
		return true
	}
	for _, c := range cmd.GetChecks() {
		if _, ok := fsmpb.Check_Kind_name[int32(c.GetKind())]; !ok || len(c.ProtoReflect().GetUnknown()) > 0 {
			return true
		}
	}
	for _, w := range cmd.GetWrites() {
		if _, ok := fsmpb.Write_Op_name[int32(w.GetOp())]; !ok || len(w.ProtoReflect().GetUnknown()) > 0 {
			return true
		}
	}
	return false
}

// Validate reports whether a command is within the bounds of this package. The
// error wraps ErrInvalid and names no key and no value.
func Validate(cmd *fsmpb.Command) error {
	switch {
	case cmd.GetVersion() < Needs(cmd) || cmd.GetVersion() > CommandVersion:
		return invalid("version %d, it needs %d and this release knows %d", cmd.GetVersion(), Needs(cmd), CommandVersion)
	case cmd.GetTime() < 0:
		return invalid("negative time")
	case len(cmd.GetRequestId()) != 0 && len(cmd.GetRequestId()) != requestIDBytes:
		return invalid("request id of %d bytes, not %d", len(cmd.GetRequestId()), requestIDBytes)
	case len(cmd.GetChecks())+len(cmd.GetWrites()) > MaxOps:
		return invalid("%d operations, the limit is %d", len(cmd.GetChecks())+len(cmd.GetWrites()), MaxOps)
	}
	for i, c := range cmd.GetChecks() {
		if err := validateCheck(c); err != nil {
			return fmt.Errorf("check %d: %w", i, err)
		}
	}
	size := len(cmd.GetReply())
	for i, w := range cmd.GetWrites() {
		if err := validateWrite(w); err != nil {
			return fmt.Errorf("write %d: %w", i, err)
		}
		size += protowire.SizeBytes(len(w.GetKey())) + protowire.SizeBytes(len(w.GetValue()))
	}
	if size > MaxCommandBytes {
		return invalid("more than %d bytes", MaxCommandBytes)
	}
	return nil
}

func validateCheck(c *fsmpb.Check) error {
	if _, ok := fsmpb.Check_Kind_name[int32(c.GetKind())]; !ok {
		return invalid("unknown kind %d", c.GetKind())
	}
	if c.GetKind() == fsmpb.Check_EXISTS && c.GetVersion() != 0 {
		return invalid("a check for existence has no version")
	}
	return validateKey(c.GetKey())
}

func validateWrite(w *fsmpb.Write) error {
	if err := validateKey(w.GetKey()); err != nil {
		return err
	}
	switch w.GetOp() {
	case fsmpb.Write_PUT:
		if w.GetExpiry() < 0 {
			return invalid("negative expiry")
		}
		if len(w.GetOwner()) > MaxOwnerBytes {
			return invalid("owner of %d bytes, the limit is %d", len(w.GetOwner()), MaxOwnerBytes)
		}
		return nil
	case fsmpb.Write_DELETE, fsmpb.Write_DELETE_PREFIX:
		if len(w.GetValue()) > 0 || w.GetExpiry() != 0 || len(w.GetOwner()) > 0 {
			return invalid("a deletion has no value, expiry or owner")
		}
		return nil
	default:
		return invalid("unknown operation %d", w.GetOp())
	}
}

func validateKey(key []byte) error {
	switch {
	case len(key) == 0:
		return invalid("empty key")
	case len(key) > MaxKeyBytes:
		return invalid("key of %d bytes, the limit is %d", len(key), MaxKeyBytes)
	case key[0] < MinTable || key[0] > MaxTable:
		return invalid("table %#02x is not in %#02x..%#02x", key[0], MinTable, MaxTable)
	}
	return nil
}

// requestTime is the time in a request id, in Unix milliseconds.
func requestTime(id []byte) int64 {
	var b [8]byte
	copy(b[8-requestTimeBytes:], id[:requestTimeBytes])
	return int64(binary.BigEndian.Uint64(b[:]))
}

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}
