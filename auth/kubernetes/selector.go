package kubernetes

import (
	"bytes"
	"errors"
	"slices"

	"go.yaml.in/yaml/v3"
)

const maxSelectorBytes = 16 << 10

// selector is a label selector as Kubernetes writes them.
type selector struct {
	Labels      map[string]string `yaml:"matchLabels"`
	Expressions []expression      `yaml:"matchExpressions"`
}

type expression struct {
	Key      string   `yaml:"key"`
	Operator string   `yaml:"operator"`
	Values   []string `yaml:"values"`
}

// parseSelector reads JSON or YAML, of which JSON is a part.
func parseSelector(text string) (*selector, error) {
	if len(text) > maxSelectorBytes {
		return nil, errors.New("it is too long")
	}
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	decoder.KnownFields(true)
	s := new(selector)
	if err := decoder.Decode(s); err != nil {
		return nil, errors.New("expected matchLabels and matchExpressions, in JSON or YAML")
	}
	if len(s.Labels)+len(s.Expressions) == 0 {
		return nil, errors.New("it would select every namespace: use bound_service_account_namespaces=\"*\" for that")
	}
	for _, e := range s.Expressions {
		set := e.Operator == "In" || e.Operator == "NotIn"
		exists := e.Operator == "Exists" || e.Operator == "DoesNotExist"
		if e.Key == "" || !set && !exists || set != (len(e.Values) > 0) {
			return nil, errors.New("each of matchExpressions has a key and the operator In or NotIn with values, or Exists or DoesNotExist without")
		}
	}
	return s, nil
}

// matches reports whether labels are selected.
func (s *selector) matches(labels map[string]string) bool {
	for name, want := range s.Labels {
		if got, ok := labels[name]; !ok || got != want {
			return false
		}
	}
	return !slices.ContainsFunc(s.Expressions, func(e expression) bool { return !e.matches(labels) })
}

func (e *expression) matches(labels map[string]string) bool {
	got, ok := labels[e.Key]
	switch e.Operator {
	case "In":
		return ok && slices.Contains(e.Values, got)
	case "NotIn":
		return !ok || !slices.Contains(e.Values, got)
	case "Exists":
		return ok
	default:
		return !ok
	}
}
