module example.com/{{package}}

go 1.24

require github.com/leveros/lever/bindings/go v0.1.0

require (
	github.com/vmihailenco/msgpack/v5 v5.4.1 // indirect
	github.com/vmihailenco/tagparser/v2 v2.0.0 // indirect
)

// The module of the Lever that wrote this file.
replace github.com/leveros/lever/bindings/go => {{runtime}}/go/lever
