package main

import (
	"bytes"
	"math"
	"strings"
	"time"

	lever "github.com/leveros/lever/bindings/go"
)

func nested(depth int, wrap func(any) any, inner any) any {
	for range depth {
		inner = wrap(inner)
	}
	return inner
}

func allBytes(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i)
	}
	return data
}

// The values of the matrix, by name.
var values = map[string]any{
	"nil": nil, "true": true, "false": false,
	"int_zero": 0, "int_minus_1": -1, "int_127": 127, "int_128": 128, "int_255": 255, "int_256": 256,
	"int_65535": 65535, "int_65536": 65536, "int_minus_128": -128, "int_minus_129": -129,
	"int_2_31": int64(1 << 31), "int_minus_2_31": int64(math.MinInt32), "int_minus_2_31_less_1": int64(math.MinInt32) - 1,
	"int_2_32": int64(1 << 32), "int_2_53": int64(1 << 53), "int_2_53_plus_1": int64(1<<53 + 1),
	"int_minus_2_53_less_1": int64(-1<<53 - 1), "int_2_63_less_1": int64(math.MaxInt64),
	"int_2_64_less_1": uint64(math.MaxUint64), "int_minus_2_63": int64(math.MinInt64),
	"float_half": 0.5, "float_whole": 1.0, "float_minus_zero": math.Copysign(0, -1), "float_nan": math.NaN(),
	"float_infinity": math.Inf(1), "float_minus_infinity": math.Inf(-1),
	"float_least": math.SmallestNonzeroFloat64, "float_greatest": math.MaxFloat64,
	"text_empty": "", "text_ascii": "Lever", "text_unicode": "Grüße, 世界 🚀", "text_nul": "a\x00b",
	"text_1_mib": strings.Repeat("x", 1<<20), "uuid": "123e4567-e89b-12d3-a456-426614174000",
	"bytes_empty": []byte{}, "bytes_256": allBytes(256), "bytes_1_mib": bytes.Repeat(allBytes(256), 1<<12),
	"array_empty":      []any{},
	"array_mixed":      []any{nil, true, 1, "a", []byte{1}, []any{}, map[string]any{}},
	"array_nested_100": nested(99, func(inner any) any { return []any{inner} }, []any{}),
	"map_empty":        map[string]any{}, "map_text_keys": map[string]any{"a": 1, "b": []any{2, 3}},
	"map_nested_100": nested(99, func(inner any) any { return map[string]any{"d": inner} }, map[string]any{}),
	"map_proto_key":  map[string]any{"__proto__": 1, "constructor": 2},
	"map_int_keys":   map[any]any{1: "one", -1: "minus one"},
	"map_mixed_keys": map[any]any{"s": 2, 3: 3, true: 4, nil: 5},
	"map_float_key":  map[any]any{1.5: "x"},
	"map_bytes_key":  lever.Map{{Key: []byte("k"), Value: 1}},
	"map_array_key":  lever.Map{{Key: []any{1, 2}, Value: 3}},
	"time_epoch":     time.Unix(0, 0), "time_millis": time.Unix(1700000000, 123000000),
	"time_micros": time.Unix(1700000000, 123456000), "time_nanos": time.Unix(1700000000, 123456789),
	"time_before_1970": time.Unix(-1, 500000000), "time_year_1": time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC),
	"time_year_10000": time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
	"time_greatest":   lever.Timestamp{Seconds: math.MaxInt64, Nanos: 999999999},
	"time_least":      lever.Timestamp{Seconds: math.MinInt64},
	"ext_unknown":     lever.Ext{Type: 42, Data: []byte{1, 2, 3}}, "ext_empty": lever.Ext{Type: 5},
	"ext_negative": lever.Ext{Type: -100, Data: allBytes(32)},
}
