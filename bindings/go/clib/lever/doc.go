// Package lever carries the header of Lever's C ABI.
package lever
