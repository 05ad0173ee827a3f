package lever

import (
	"fmt"
	"time"
)

// A Timestamp is a point in time as MessagePack has it, with a range that [time.Time] has not. It
// arrives where a time.Time would not be exact.
type Timestamp struct {
	// Seconds since 1970, UTC.
	Seconds int64
	// Nanos is 0 to 999,999,999.
	Nanos uint32
}

// TimestampOf gives the same point in time.
func TimestampOf(t time.Time) Timestamp {
	return Timestamp{Seconds: t.Unix(), Nanos: uint32(t.Nanosecond())}
}

// Time gives the same point in time, in UTC; false if time.Time cannot hold it.
func (t Timestamp) Time() (time.Time, bool) {
	if t.Nanos > nanosMax {
		return time.Time{}, false
	}
	at := time.Unix(t.Seconds, int64(t.Nanos)).UTC()
	year := at.Year()
	return at, at.Unix() == t.Seconds && year >= -yearsMax && year <= yearsMax
}

const (
	nanosMax = 999_999_999
	// Beyond these years the arithmetic of time.Time wraps round.
	yearsMax = 290_000_000_000
)

// An Ext is an extension of MessagePack that Lever gives no meaning.
type Ext struct {
	Type int8
	Data []byte
}

// A Map is a map with a key that Go cannot compare: bytes, an array, a map, an extension. Any other
// arrives as a Go map.
type Map []MapEntry

// A MapEntry is one pair of a [Map].
type MapEntry struct {
	Key, Value any
}

// Metadata goes with a call, beside its arguments. Names are in lower case; those that end in "-bin"
// have bytes as their values, all others text. Names that begin with "lever-" or "grpc-" are dropped.
type Metadata map[string][]string

// Get gives the first value of a name, or "".
func (m Metadata) Get(name string) string {
	if values := m[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// Pairs makes metadata of names and values in turn. It panics if a value is missing.
func Pairs(namesAndValues ...string) Metadata {
	if len(namesAndValues)%2 != 0 {
		panic(fmt.Sprintf("lever.Pairs: %d names and values", len(namesAndValues)))
	}
	m := make(Metadata, len(namesAndValues)/2)
	for i := 0; i < len(namesAndValues); i += 2 {
		m[namesAndValues[i]] = append(m[namesAndValues[i]], namesAndValues[i+1])
	}
	return m
}
