module github.com/keymoat/keymoat/plugin/extism

go 1.26.0

replace github.com/keymoat/keymoat => ../..

require (
	github.com/extism/go-pdk v1.1.3
	github.com/keymoat/keymoat v0.0.0
	github.com/stretchr/testify v1.12.1
	github.com/tetratelabs/wazero v1.12.0
	go.yaml.in/yaml/v4 v4.0.0
)

require (
	github.com/go-json-experiment/json v1.27.2 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
