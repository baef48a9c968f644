package transit

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/coffer-secrets/coffer/seal"
)

const (
	// Type is the name of this wrapper.
	Type = "transit"

	dataKeySize   = 32
	formatVersion = 1
	maxWrapped    = 8 << 10 // of a data key as transit returns it, in bytes
	maxKeyName    = 200

	label = "coffer/v1/transit\x00" // before the caller's additional data
)

// Errors of this package.
var (
	// ErrConfig says what is wrong with a Config.
	ErrConfig = errors.New("transit seal")

	// ErrRefused says that the server answered and will not do it; trying again
	// does not help until someone changes the server or the configuration.
	ErrRefused = errors.New("transit seal: refused")

	// ErrUnavailable says that the server could not be reached, or is sealed,
	// overloaded or broken.
	ErrUnavailable = errors.New("transit seal: unavailable")
)

// Config says which server, token and key to use. Paths of files are PEM.
type Config struct {
	Address   string // https://host:8200
	Token     string // needs update on encrypt/<key> and decrypt/<key>
	KeyName   string
	MountPath string // of the transit engine; "transit" if empty
	Namespace string

	TLSCACert     string // file; the system's roots if empty
	TLSClientCert string // file, together with TLSClientKey
	TLSClientKey  string // file
	TLSServerName string // to expect in the server's certificate
	TLSSkipVerify bool   // accept any certificate: not for production

	DisableRenewal bool // the token is renewed by someone else

	Dial   func(ctx context.Context, network, address string) (net.Conn, error) // nil: net.Dialer
	Logger *slog.Logger                                                         // nil: no logs
}

// A Wrapper implements seal.Wrapper.
type Wrapper struct {
	client  *client
	keyName string
	cancel  context.CancelFunc // of the renewal, and of requests under way
	ctx     context.Context    //nolint:containedctx // done when closed
	renewed chan struct{}      // closed when the renewal has ended
}

var _ seal.Wrapper = (*Wrapper)(nil)

// New checks the configuration and, unless that is disabled, begins to renew the
// token in the background until Close, or until ctx is done. It does not wait
// for the server, which may start later. The error is ErrConfig.
func New(ctx context.Context, cfg Config) (*Wrapper, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if len(cfg.KeyName) > maxKeyName || strings.Contains(cfg.KeyName, "/") || !isPath(cfg.KeyName) {
		return nil, fmt.Errorf("%w: key_name must be 1 to %d bytes of a path segment", ErrConfig, maxKeyName)
	}
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	w := &Wrapper{client: c, keyName: cfg.KeyName, renewed: make(chan struct{})}
	w.ctx, w.cancel = context.WithCancel(ctx)
	if cfg.DisableRenewal {
		close(w.renewed)
		return w, nil
	}
	go func() {
		defer close(w.renewed)
		renewToken(w.ctx, c, cfg.Logger)
	}()
	return w, nil
}

// Type returns "transit".
func (w *Wrapper) Type() string { return Type }

// KeyID returns the name and newest version of the transit key. To learn it, it
// encrypts a random data key.
func (w *Wrapper) KeyID(ctx context.Context) (string, error) {
	dataKey := newDataKey()
	defer clear(dataKey)
	_, id, err := w.wrapDataKey(ctx, dataKey)
	return id, err
}

// Encrypt seals plaintext under a new data key.
func (w *Wrapper) Encrypt(ctx context.Context, plaintext, aad []byte) (seal.Blob, error) {
	dataKey := newDataKey()
	defer clear(dataKey)
	wrapped, id, err := w.wrapDataKey(ctx, dataKey)
	if err != nil {
		return seal.Blob{}, err
	}
	aead, err := newAEAD(dataKey)
	if err != nil {
		return seal.Blob{}, err
	}
	out := append(make([]byte, 0, 3+len(wrapped)), formatVersion)
	out = binary.BigEndian.AppendUint16(out, uint16(len(wrapped)))
	out = append(out, wrapped...)
	return seal.Blob{
		Type:       Type,
		KeyID:      id,
		Ciphertext: aead.Seal(out, nil, plaintext, labelled(aad)),
	}, nil
}

// Decrypt opens a blob.
func (w *Wrapper) Decrypt(ctx context.Context, blob seal.Blob, aad []byte) ([]byte, error) {
	wrapped, ciphertext, err := splitBlob(blob)
	if err != nil {
		return nil, err
	}
	ctx, cancel := w.bound(ctx)
	defer cancel()
	dataKey, err := w.client.decrypt(ctx, w.keyName, wrapped)
	if err != nil {
		return nil, w.closedOr(err)
	}
	defer clear(dataKey)
	if len(dataKey) != dataKeySize {
		return nil, fmt.Errorf("%w: data key is not %d bytes long", seal.ErrWrongKey, dataKeySize)
	}
	aead, err := newAEAD(dataKey)
	if err != nil {
		return nil, err
	}
	plaintext, err := aead.Open(nil, nil, ciphertext, labelled(aad))
	if err != nil {
		return nil, seal.ErrCorrupt
	}
	return plaintext, nil
}

// Close ends requests under way and the renewal of the token, and waits for it.
func (w *Wrapper) Close() error {
	w.cancel()
	<-w.renewed
	w.client.http.CloseIdleConnections()
	return nil
}

// wrapDataKey returns the data key as transit encrypted it, and the key's id.
func (w *Wrapper) wrapDataKey(ctx context.Context, dataKey []byte) (wrapped, id string, err error) {
	ctx, cancel := w.bound(ctx)
	defer cancel()
	wrapped, err = w.client.encrypt(ctx, w.keyName, dataKey)
	if err != nil {
		return "", "", w.closedOr(err)
	}
	// The form is <scheme>:v<version>:<base64>.
	parts := strings.SplitN(wrapped, ":", 3)
	if len(parts) != 3 || len(parts[1]) < 2 || len(parts[1]) > 20 || parts[1][0] != 'v' || len(wrapped) > maxWrapped {
		return "", "", fmt.Errorf("%w: the ciphertext is not of transit's form", ErrRefused)
	}
	return wrapped, w.keyName + ":" + parts[1], nil
}

// bound returns a context that ends with ctx or by Close.
func (w *Wrapper) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(w.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

func (w *Wrapper) closedOr(err error) error {
	if w.ctx.Err() != nil {
		return seal.ErrSealed
	}
	return err
}

func splitBlob(blob seal.Blob) (wrapped string, ciphertext []byte, err error) {
	if blob.Type != Type {
		return "", nil, fmt.Errorf("%w: blob of another type of seal", seal.ErrMalformed)
	}
	data := blob.Ciphertext
	if len(data) < 3 || data[0] != formatVersion {
		return "", nil, fmt.Errorf("%w: transit envelope", seal.ErrMalformed)
	}
	length := int(binary.BigEndian.Uint16(data[1:]))
	data = data[3:]
	if length == 0 || length > maxWrapped || length > len(data) {
		return "", nil, fmt.Errorf("%w: transit envelope", seal.ErrMalformed)
	}
	return string(data[:length]), data[length:], nil
}

func newDataKey() []byte {
	key := make([]byte, dataKeySize)
	rand.Read(key) // never fails
	return key
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("transit seal: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func labelled(aad []byte) []byte { return append([]byte(label), aad...) }
