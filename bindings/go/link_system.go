//go:build lever_system

package lever

// #cgo pkg-config: lever
import "C"
