package jwt

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"

	"github.com/coffer-secrets/coffer/engines"
)

const (
	keyBytes  = 32
	idBytes   = 16
	flowLives = 10 * time.Minute
	maxState  = 16 << 10

	usedDir = "used/"
	doneDir = "done/"
	// maxTidied bounds how many rows whose time is over one login removes: more
	// than it makes.
	maxTidied = 8
)

var encoding = base64.RawURLEncoding

// flow is a login at a provider under way: what the state tells.
type flow struct {
	ID       string `json:"i"`
	Mode     string `json:"m"`
	Role     string `json:"r"`
	Redirect string `json:"u,omitempty"`
	// Nonce is the hash of what the client has to know; empty for nothing.
	Nonce string `json:"n,omitempty"`
	// Until is when it ends, in Unix seconds.
	Until int64 `json:"t"`
	// Addr is who began it.
	Addr string `json:"a,omitempty"`
	// Config is the version of the configuration: another provider's answer is
	// none to it.
	Config uint64 `json:"c"`
	// Device is the provider's code for the device.
	Device string `json:"d,omitempty"`

	key []byte
}

// flowKey is the key of the mount's states; nil if it was never configured.
func flowKey(tx engines.Tx) ([]byte, error) {
	entry, err := tx.Get(keyRow)
	if err != nil || entry == nil {
		return nil, err
	}
	return entry.Value, nil
}

// derive makes what belongs to a purpose.
func derive(key []byte, purpose, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(purpose + "\x00" + text))
	return mac.Sum(nil)
}

// newFlow begins a login.
func newFlow(key []byte, now time.Time) *flow {
	id := make([]byte, idBytes)
	_, _ = rand.Read(id)
	return &flow{ID: encoding.EncodeToString(id), Until: now.Add(flowLives).Unix(), key: key}
}

// nonce is what the provider has to repeat in its token, and verifier what
// proves that who redeems the code began the login (RFC 7636).
func (f *flow) nonce() string { return encoding.EncodeToString(derive(f.key, "nonce", f.ID)) }

func (f *flow) verifier() string { return encoding.EncodeToString(derive(f.key, "verifier", f.ID)) }

// userCode is what a person compares, without vowels, so that it is no word.
func (f *flow) userCode() string {
	const letters = "BCDFGHJKLMNPQRSTVWXZ"
	text := []byte("....-....")
	for i, b := range derive(f.key, "user code", f.ID)[:len(text)] {
		if text[i] == '.' {
			text[i] = letters[int(b)%len(letters)]
		}
	}
	return string(text)
}

// known reports whether a client's nonce is that of the login's beginning.
func (f *flow) known(clientNonce string) bool {
	return f.Nonce == "" || subtle.ConstantTimeCompare([]byte(hashNonce(clientNonce)), []byte(f.Nonce)) == 1
}

func hashNonce(clientNonce string) string {
	if clientNonce == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(clientNonce))
	return encoding.EncodeToString(sum[:])
}

// row is where, in a folder, there is something about the flow.
func (f *flow) row(dir string) string {
	return dir + strconv.FormatInt(f.Until/60+1, 10) + "/" + f.ID
}

func sealing(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(derive(key, "state", ""))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal is the flow as a state, for one mount.
func (f *flow) seal(mount engines.Mount) (string, error) {
	aead, err := sealing(f.key)
	if err != nil {
		return "", engines.Internal(err)
	}
	text, err := json.Marshal(f)
	if err != nil {
		return "", engines.Internal(err)
	}
	nonce := make([]byte, aead.NonceSize())
	_, _ = rand.Read(nonce)
	return encoding.EncodeToString(aead.Seal(nonce, nonce, text, []byte(mount.UUID))), nil
}

// openFlow reads a state; nil if it is none, or over.
func openFlow(key []byte, state string, mount engines.Mount, now time.Time) *flow {
	if key == nil || len(state) > maxState {
		return nil
	}
	aead, err := sealing(key)
	if err != nil {
		return nil
	}
	sealed, err := encoding.DecodeString(state)
	if err != nil || len(sealed) < aead.NonceSize() {
		return nil
	}
	text, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(mount.UUID))
	if err != nil {
		return nil
	}
	f := &flow{key: key}
	if json.Unmarshal(text, f) != nil || now.Unix() >= f.Until {
		return nil
	}
	return f
}

// use marks the flow as used, which was not so before, and forgets others whose
// time is over.
func (f *flow) use(tx engines.Tx, now time.Time) error {
	if err := tidy(tx, usedDir, now); err != nil {
		return err
	}
	if err := tx.Delete(f.row(doneDir)); err != nil {
		return err
	}
	return tx.Put(f.row(usedDir), []byte{1})
}

// keep stores the outcome of a flow, which has none yet, until its client asks
// for it.
func (f *flow) keep(tx engines.Tx, now time.Time, v *verified) error {
	if have, err := tx.Get(f.row(doneDir)); err != nil {
		return err
	} else if have != nil {
		return errState()
	}
	if err := tidy(tx, doneDir, now); err != nil {
		return err
	}
	value, err := json.Marshal(outcome{Rests: v.rests, Auth: v.auth})
	if err != nil {
		return engines.Internal(err)
	}
	return tx.Put(f.row(doneDir), value)
}

// outcome is who logged in at the browser.
type outcome struct {
	Rests rests         `json:"rests"`
	Auth  *engines.Auth `json:"auth"`
}

// tidy removes rows of a folder whose minute is over.
func tidy(tx engines.Tx, dir string, now time.Time) error {
	minutes, err := tx.List(dir, engines.Page{Limit: 1})
	if err != nil || len(minutes) == 0 {
		return err
	}
	minute, err := strconv.ParseInt(minutes[0][:len(minutes[0])-1], 10, 64)
	if err != nil {
		return engines.Internal(err)
	}
	if minute*60 > now.Unix() {
		return nil
	}
	names, err := tx.List(dir+minutes[0], engines.Page{Limit: maxTidied})
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := tx.Delete(dir + minutes[0] + name); err != nil {
			return err
		}
	}
	return nil
}
