module talks

go 1.24

require github.com/leveros/lever/bindings/go v0.0.0

require (
	github.com/vmihailenco/msgpack/v5 v5.4.1 // indirect
	github.com/vmihailenco/tagparser/v2 v2.0.0 // indirect
)

// The module as a build of this repository assembles it.
replace github.com/leveros/lever/bindings/go => ../../../../build/release/runtime/go/lever
