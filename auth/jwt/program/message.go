package program

import (
	"google.golang.org/protobuf/types/descriptorpb"
)

// descriptors describe pb.Auth and what it holds, with the names and numbers
// that OpenBao's has, as far as a login can use them.
func descriptors() *descriptorpb.FileDescriptorSet {
	type kind = descriptorpb.FieldDescriptorProto_Type
	const (
		text    = descriptorpb.FieldDescriptorProto_TYPE_STRING
		number  = descriptorpb.FieldDescriptorProto_TYPE_INT64
		boolean = descriptorpb.FieldDescriptorProto_TYPE_BOOL
		message = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE
	)
	field := func(name string, id int32, t kind) *descriptorpb.FieldDescriptorProto {
		label := descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL
		return &descriptorpb.FieldDescriptorProto{Name: &name, JsonName: &name, Number: &id, Type: &t, Label: &label}
	}
	of := func(f *descriptorpb.FieldDescriptorProto, message string) *descriptorpb.FieldDescriptorProto {
		full := ".pb." + message
		f.TypeName = &full
		return f
	}
	repeated := func(f *descriptorpb.FieldDescriptorProto) *descriptorpb.FieldDescriptorProto {
		label := descriptorpb.FieldDescriptorProto_LABEL_REPEATED
		f.Label = &label
		return f
	}
	yes := true
	// A map is a list of entries, by protobuf's own convention.
	entry := func() *descriptorpb.DescriptorProto {
		name := "MetadataEntry"
		return &descriptorpb.DescriptorProto{
			Name: &name, Field: []*descriptorpb.FieldDescriptorProto{field("key", 1, text), field("value", 2, text)},
			Options: &descriptorpb.MessageOptions{MapEntry: &yes},
		}
	}
	auth, lease, alias := "Auth", "LeaseOptions", "Alias"
	file, pkg, syntax := "coffer/auth.proto", "pb", "proto3"
	return &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{
		Name: &file, Package: &pkg, Syntax: &syntax,
		MessageType: []*descriptorpb.DescriptorProto{
			{Name: &lease, Field: []*descriptorpb.FieldDescriptorProto{
				field("TTL", 1, number), field("renewable", 2, boolean), field("MaxTTL", 5, number),
			}},
			{Name: &alias, NestedType: []*descriptorpb.DescriptorProto{entry()}, Field: []*descriptorpb.FieldDescriptorProto{
				field("name", 3, text), repeated(of(field("metadata", 4, message), "Alias.MetadataEntry")),
			}},
			{Name: &auth, NestedType: []*descriptorpb.DescriptorProto{entry()}, Field: []*descriptorpb.FieldDescriptorProto{
				of(field("lease_options", 1, message), "LeaseOptions"), field("display_name", 3, text), repeated(field("policies", 4, text)),
				repeated(of(field("metadata", 5, message), "Auth.MetadataEntry")), field("period", 8, number), field("num_uses", 9, number),
				of(field("alias", 11, message), "Alias"), repeated(of(field("group_aliases", 12, message), "Alias")),
				repeated(field("bound_cidrs", 13, text)), field("explicit_max_ttl", 16, number), field("no_default_policy", 20, boolean),
			}},
		},
	}}}
}

// Auth is pb.Auth as a program makes it. Times are in nanoseconds.
type Auth struct {
	LeaseOptions struct {
		TTL       int64 `json:"TTL,string"`
		Renewable bool  `json:"renewable"`
		MaxTTL    int64 `json:"MaxTTL,string"`
	} `json:"lease_options"`
	DisplayName     string            `json:"display_name"`
	Policies        []string          `json:"policies"`
	Metadata        map[string]string `json:"metadata"`
	Period          int64             `json:"period,string"`
	NumUses         int64             `json:"num_uses,string"`
	Alias           Alias             `json:"alias"`
	GroupAliases    []Alias           `json:"group_aliases"`
	BoundCIDRs      []string          `json:"bound_cidrs"`
	ExplicitMaxTTL  int64             `json:"explicit_max_ttl,string"`
	NoDefaultPolicy bool              `json:"no_default_policy"`
}

// Alias names somebody, or a group.
type Alias struct {
	Name     string            `json:"name"`
	Metadata map[string]string `json:"metadata"`
}
