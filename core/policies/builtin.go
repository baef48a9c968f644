package policies

// DefaultName is the policy that tokens get unless they refuse it.
const DefaultName = "default"

const wrappingName = "response-wrapping"

// wrappingPolicy is what a wrapping token may do: learn what it is, and be used.
const wrappingPolicy = `path "cubbyhole/response" { capabilities = ["create", "read"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }
`

// defaultPolicy lets a token manage itself and what is its own.
const defaultPolicy = `# What every token may do for itself. Edit it as you like; it cannot be deleted.

# Look at, renew and revoke the token itself.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "auth/token/revoke-self" { capabilities = ["update"] }

# Ask what the token may do.
path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/internal/ui/resultant-acl" { capabilities = ["read"] }
path "sys/policies/explain" { capabilities = ["update"] }

# Look at and renew a lease whose id is known.
path "sys/renew" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "sys/leases/lookup" { capabilities = ["update"] }

# Find the leases that the token or its entity owns.
path "sys/leases/search" { capabilities = ["read"] }

# Keep things in the token's own cubbyhole.
path "cubbyhole/*" { capabilities = ["create", "read", "update", "delete", "list"] }

# Wrap values, and look at and open what was wrapped.
path "sys/wrapping/wrap" { capabilities = ["update"] }
path "sys/wrapping/lookup" { capabilities = ["update"] }
path "sys/wrapping/unwrap" { capabilities = ["update"] }

# Random bytes and digests.
path "sys/tools/hash" { capabilities = ["update"] }
path "sys/tools/hash/*" { capabilities = ["update"] }
path "sys/tools/random" { capabilities = ["update"] }
path "sys/tools/random/*" { capabilities = ["update"] }

# Read the identity that the token belongs to.
path "identity/entity/id/{{identity.entity.id}}" { capabilities = ["read"] }
path "identity/entity/name/{{identity.entity.name}}" { capabilities = ["read"] }
path "identity/oidc/provider/+/authorize" { capabilities = ["read", "update"] }
`
