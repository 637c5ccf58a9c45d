package keymoat

default allow := false

# The key's own policy is in force, alone.
allow if listed(data.keys[input.access_key_id].networks[input.network])

# Else the account's.
allow if {
	not data.keys[input.access_key_id].active
	listed(data.account.networks[input.network])
}

# Else none.
allow if {
	not data.keys[input.access_key_id].active
	not data.account.active
}
