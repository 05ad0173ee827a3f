// Package describe says what a program got: tests/matrix/README.md has the notation.
package describe

import (
	"crypto/sha256"
	"fmt"
	"math"
	"sort"
	"strings"
	"time"

	lever "github.com/leveros/lever/bindings/go"
)

// Value describes one value.
func Value(v any) string {
	switch v := v.(type) {
	case nil:
		return "nil"
	case bool:
		return fmt.Sprint(v)
	case int, int64, uint64:
		return fmt.Sprintf("int:%d", v)
	case float64:
		if math.IsNaN(v) {
			return "float:7ff8000000000000"
		}
		return fmt.Sprintf("float:%016x", math.Float64bits(v))
	case string:
		return hashed("text", []byte(v))
	case []byte:
		return hashed("bytes", v)
	case []any:
		parts := make([]string, len(v))
		for i, element := range v {
			parts[i] = Value(element)
		}
		return "[" + strings.Join(parts, ",") + "]"
	case map[string]any:
		return entries(v)
	case map[any]any:
		return entries(v)
	case lever.Map:
		var parts []string
		for _, entry := range v {
			parts = append(parts, Value(entry.Key)+"="+Value(entry.Value))
		}
		return sorted(parts)
	case time.Time:
		return Value(lever.TimestampOf(v))
	case lever.Timestamp:
		return fmt.Sprintf("time:%d.%09d", v.Seconds, v.Nanos)
	case lever.Ext:
		return hashed(fmt.Sprintf("ext:%d", v.Type), v.Data)
	default:
		return fmt.Sprintf("a %T", v)
	}
}

func hashed(kind string, data []byte) string {
	return fmt.Sprintf("%s:%d:%x", kind, len(data), sha256.Sum256(data))[:len(kind)+len(fmt.Sprint(len(data)))+2+16]
}

func entries[K comparable](m map[K]any) string {
	var parts []string
	for key, value := range m {
		parts = append(parts, Value(key)+"="+Value(value))
	}
	return sorted(parts)
}

func sorted(parts []string) string {
	sort.Strings(parts)
	return "{" + strings.Join(parts, ",") + "}"
}
