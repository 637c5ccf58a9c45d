package keymoat

listed(blocks) if {
	some block in blocks
	net.cidr_contains(block, input.source_ip)
}
