package keymoat

listed(blocks) if count(net.cidr_contains_matches(blocks, input.source_ip)) > 0
