package conformance_test

import "testing"

// TestTransaction: clients that know nothing of transactions can ask for one by
// its path.
func TestTransaction(t *testing.T) {
	t.Parallel()
	c := dev.client(t)
	mount := mounted(t, c, "2")
	at := func(operation, name string, data object) object {
		return object{"operation": operation, "path": mount + "/data/" + name, "data": data}
	}
	got := must(c.Logical().Write("sys/transaction", object{"operations": []any{
		at("create", "a", object{"data": object{"k": "1"}}), at("create", "b", object{"data": object{"k": "2"}}), at("read", "a", nil),
	}}))(t)
	answers, _ := got.Data["operations"].([]any)
	holds(t, "an answer for each", len(answers) == 3)
	for name, want := range map[string]string{"a": "1", "b": "2"} {
		equal(t, name, must(c.KVv2(mount).Get(t.Context(), name))(t).Data, object{"k": want})
	}
	_, err := c.Logical().Write("sys/transaction", object{"operations": []any{
		at("update", "a", object{"data": object{"k": "3"}}), at("update", "b", object{"data": object{}, "options": object{"cas": 7}}),
	}})
	refused(t, err, 400, "operation 2: check-and-set parameter did not match the current version")
	equal(t, "nothing of it", must(c.KVv2(mount).Get(t.Context(), "a"))(t).Data, object{"k": "1"})
}
