//go:build openbao

package api

import "github.com/openbao/openbao/api/v2"

// Name tells which client this is, AddressVariable where it finds the server.
const (
	Name            = "OpenBao"
	AddressVariable = api.EnvVaultAddress
)

// The client's types.
type (
	CORSRequest          = api.CORSRequest
	Client               = api.Client
	Config               = api.Config
	EnableAuthOptions    = api.EnableAuthOptions
	InitRequest          = api.InitRequest
	InitResponse         = api.InitResponse
	KVMetadataPatchInput = api.KVMetadataPatchInput
	KVMetadataPutInput   = api.KVMetadataPutInput
	KVv1                 = api.KVv1
	KVv2                 = api.KVv2
	LifetimeWatcher      = api.LifetimeWatcher
	LifetimeWatcherInput = api.LifetimeWatcherInput
	Logical              = api.Logical
	MountConfigInput     = api.MountConfigInput
	MountInput           = api.MountInput
	RaftJoinRequest      = api.RaftJoinRequest
	RekeyInitRequest     = api.RekeyInitRequest
	Request              = api.Request
	Response             = api.Response
	ResponseError        = api.ResponseError
	Secret               = api.Secret
	Sys                  = api.Sys
	TokenAuth            = api.TokenAuth
	TokenCreateRequest   = api.TokenCreateRequest
	EnableAuditOptions   = api.EnableAuditOptions
	RevokeOptions        = api.RevokeOptions
	UnsealOpts           = api.UnsealOpts
)

// The client's constants.
const (
	KVMergeMethodPatch         = api.KVMergeMethodPatch
	KVMergeMethodReadWrite     = api.KVMergeMethodReadWrite
	RenewBehaviorErrorOnErrors = api.RenewBehaviorErrorOnErrors
)

// The client's functions and errors.
var (
	DefaultConfig      = api.DefaultConfig
	ErrSecretNotFound  = api.ErrSecretNotFound
	DefaultRetryPolicy = api.DefaultRetryPolicy
	NewClient          = api.NewClient
	ParseSecret        = api.ParseSecret
	WithCheckAndSet    = api.WithCheckAndSet
	WithMergeMethod    = api.WithMergeMethod
)
