package aws

import (
	"context"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/iam"
)

// lostWithin bounds how long after AWS was asked for a key it may still be made: a
// process asks for takenWithin at most, and IAM may take a while.
const lostWithin = 2 * takenWithin

// held are the keys of a user, the oldest first.
type held struct {
	ids  []string
	made []time.Time
	// at is when AWS said so, by its own clock.
	at time.Time
}

// asked is committed before AWS is asked for a key. A process that is killed before
// it has the answer leaves a key that nobody knows the secret of: it is one that is
// not among Before, was made in the time of the asking, and is not stored.
type asked struct {
	Before []string `json:"before"`
	// At is by the clock of AWS, which dates keys.
	At time.Time `json:"at"`
	// Until is when nothing of it can come any more, by cluster time. If the one
	// before had no answer (Again), what it left is looked for then once more.
	Until time.Time `json:"until"`
	Again bool      `json:"again,omitempty"`
}

// next is what is committed before another key is asked for.
func (k *asked) next(have *held, now time.Time) *asked {
	return &asked{Before: without(have.ids, k.lost(have)), At: have.at, Until: now.Add(lostWithin), Again: k != nil}
}

// lost are the keys that were made and lost, but for those that are stored.
func (k *asked) lost(have *held, stored ...*pair) []string {
	if k == nil {
		return nil
	}
	var out []string
	for i, id := range have.ids {
		is := func(p *pair) bool { return p != nil && p.ID == id }
		if !slices.Contains(k.Before, id) && !have.made[i].After(k.At.Add(lostWithin)) && !slices.ContainsFunc(stored, is) {
			out = append(out, id)
		}
	}
	return out
}

// same reports whether two are of one asking.
func (k *asked) same(as *asked) bool {
	if k == nil || as == nil {
		return k == as
	}
	return slices.Equal(k.Before, as.Before) && k.At.Equal(as.At)
}

// without is a list without some.
func without(list, some []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(id string) bool { return slices.Contains(some, id) })
}

// held lists the keys of a user; nil is the one whose key it is asked with.
func (a *api) held(ctx context.Context, name *string) (*held, error) {
	out := &held{at: time.Now()}
	p := iam.NewListAccessKeysPaginator(a.iam, &iam.ListAccessKeysInput{UserName: name})
	err := pages(ctx, p.HasMorePages, p.NextPage, func(page *iam.ListAccessKeysOutput) error {
		if at, ok := awsmiddleware.GetServerTime(page.ResultMetadata); ok {
			out.at = at
		}
		for i := range page.AccessKeyMetadata {
			k := &page.AccessKeyMetadata[i]
			at := len(out.ids)
			for at > 0 && aws.ToTime(k.CreateDate).Before(out.made[at-1]) {
				at--
			}
			out.ids = slices.Insert(out.ids, at, aws.ToString(k.AccessKeyId))
			out.made = slices.Insert(out.made, at, aws.ToTime(k.CreateDate))
		}
		return nil
	})
	return out, err
}

func (a *api) dropKey(ctx context.Context, name *string, id string) error {
	_, err := a.iam.DeleteAccessKey(ctx, &iam.DeleteAccessKeyInput{UserName: name, AccessKeyId: &id})
	return gone(err)
}

// sweep removes the keys that were made and lost. Fence commits something under the
// lead that the work began in: if it succeeds, nobody else can have made what has
// been listed before.
func (a *api) sweep(ctx context.Context, name *string, k *asked, fence func() error, stored ...*pair) error {
	have, err := a.held(ctx, name)
	if err != nil {
		return gone(err)
	}
	lost := k.lost(have, stored...)
	if len(lost) == 0 {
		return nil
	}
	if err := fence(); err != nil {
		return err
	}
	return every(lost, func(id string) error { return a.dropKey(ctx, name, id) })
}
