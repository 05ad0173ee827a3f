package lever

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"
)

// MessagePack to Go. What comes off the wire was checked by the library; what is looked at here again
// is cheap, and covers what programs make themselves.

var (
	errShort     = errors.New("the value ends too early")
	errTrailing  = errors.New("there are bytes behind the value")
	errNoPointer = errors.New("a pointer that is not nil is expected")
)

type decoder struct {
	data []byte
	at   int
}

// decodeValue reads all of data as one value into what target points to.
func decodeValue(data []byte, target any) error {
	d := decoder{data: data}
	if err := d.into(target, 0); err != nil {
		return err
	}
	if d.at != len(data) {
		return errTrailing
	}
	return nil
}

// into reads the next value into what target points to.
func (d *decoder) into(target any, depth int) (err error) {
	switch to := target.(type) {
	case *any:
		*to, err = d.any(depth)
		return err
	case *string:
		if head := d.peek(); head >= 0xa0 && head <= 0xbf || head >= 0xd9 && head <= 0xdb {
			var text []byte
			text, err = d.chunk()
			*to = string(text)
			return err
		}
	}
	v := reflect.ValueOf(target)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return errNoPointer
	}
	return d.value(v.Elem(), depth)
}

// mismatch says that a value does not go into a type.
func mismatch(value any, t reflect.Type) error {
	name := fmt.Sprintf("%T", value)
	switch value := value.(type) {
	case nil:
		name = "nil"
	case int64, uint64:
		name = fmt.Sprintf("the integer %d", value)
	case []any:
		name = "an array"
	case map[string]any, map[any]any, Map:
		name = "a map"
	case []byte:
		name = "bytes"
	}
	return fmt.Errorf("%s does not go into a %s", name, t)
}

func (d *decoder) peek() byte {
	if d.at < len(d.data) {
		return d.data[d.at]
	}
	return 0xc1 // which is never used
}

func (d *decoder) take(size int) ([]byte, error) {
	if size > len(d.data)-d.at {
		return nil, errShort
	}
	part := d.data[d.at : d.at+size]
	d.at += size
	return part, nil
}

func (d *decoder) number(bytes int) (uint64, error) {
	part, err := d.take(bytes)
	if err != nil {
		return 0, err
	}
	switch bytes {
	case 1:
		return uint64(part[0]), nil
	case 2:
		return uint64(binary.BigEndian.Uint16(part)), nil
	case 4:
		return uint64(binary.BigEndian.Uint32(part)), nil
	default:
		return binary.BigEndian.Uint64(part), nil
	}
}

// length reads a size of 1 << width bytes.
func (d *decoder) length(width byte) (int, error) {
	size, err := d.number(1 << width)
	return int(size), err
}

// chunk reads a text or bytes, as a part of the input.
func (d *decoder) chunk() ([]byte, error) {
	head := d.peek()
	d.at++
	var size int
	var err error
	switch {
	case head >= 0xa0 && head <= 0xbf:
		size = int(head & 0x1f)
	case head >= 0xd9 && head <= 0xdb:
		size, err = d.length(head - 0xd9)
	case head >= 0xc4 && head <= 0xc6:
		size, err = d.length(head - 0xc4)
	default:
		return nil, errShort
	}
	if err != nil {
		return nil, err
	}
	return d.take(size)
}

// count reads the head of an array or map that lies so deep in others, and whose elements are `each` bytes
// at least.
func (d *decoder) count(each, depth int) (int, error) {
	head := d.peek()
	d.at++
	var count int
	var err error
	switch {
	case head >= 0x80 && head <= 0x9f:
		count = int(head & 0x0f)
	case head == 0xdc || head == 0xde:
		count, err = d.length(1)
	default: // 0xdd, 0xdf
		count, err = d.length(2)
	}
	switch {
	case err != nil:
	case count > (len(d.data)-d.at)/each:
		err = errShort
	case depth == depthMax:
		err = errDepth
	}
	return count, err
}

func isArray(head byte) bool { return head >= 0x90 && head <= 0x9f || head == 0xdc || head == 0xdd }
func isMap(head byte) bool   { return head >= 0x80 && head <= 0x8f || head == 0xde || head == 0xdf }
func isText(head byte) bool  { return head >= 0xa0 && head <= 0xbf || head >= 0xd9 && head <= 0xdb }
func isExt(head byte) bool   { return head >= 0xc7 && head <= 0xc9 || head >= 0xd4 && head <= 0xd8 }

// ---- Into an any ----

func (d *decoder) any(depth int) (any, error) {
	head := d.peek()
	switch {
	case head < 0x80:
		d.at++
		return int64(head), nil
	case head >= 0xe0:
		d.at++
		return int64(int8(head)), nil
	case isText(head):
		text, err := d.chunk()
		return string(text), err
	case isArray(head):
		return d.anys(depth)
	case isMap(head):
		return d.anyMap(depth)
	case head >= 0xc4 && head <= 0xc6:
		data, err := d.chunk()
		return bytes.Clone(data), err
	case isExt(head):
		return d.ext()
	}
	return d.scalar()
}

func (d *decoder) scalar() (any, error) {
	head := d.peek()
	d.at++
	switch head {
	case 0xc0:
		return nil, nil
	case 0xc2, 0xc3:
		return head == 0xc3, nil
	case 0xca:
		bits, err := d.number(4)
		return float64(math.Float32frombits(uint32(bits))), err
	case 0xcb:
		bits, err := d.number(8)
		return math.Float64frombits(bits), err
	case 0xcc, 0xcd, 0xce:
		v, err := d.number(1 << (head - 0xcc))
		return int64(v), err
	case 0xcf:
		v, err := d.number(8)
		if v > math.MaxInt64 {
			return v, err
		}
		return int64(v), err
	case 0xd0:
		v, err := d.number(1)
		return int64(int8(v)), err
	case 0xd1:
		v, err := d.number(2)
		return int64(int16(v)), err
	case 0xd2:
		v, err := d.number(4)
		return int64(int32(v)), err
	case 0xd3:
		v, err := d.number(8)
		return int64(v), err
	}
	return nil, errShort
}

func (d *decoder) anys(depth int) (any, error) {
	count, err := d.count(1, depth)
	if err != nil {
		return nil, err
	}
	list := make([]any, count)
	for i := range list {
		if list[i], err = d.any(depth + 1); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (d *decoder) anyMap(depth int) (any, error) {
	count, err := d.count(2, depth)
	if err != nil {
		return nil, err
	}
	m := make(map[string]any, count)
	for i := range count {
		if !isText(d.peek()) {
			return d.restOfMap(m, count-i, depth)
		}
		key, err := d.chunk()
		if err != nil {
			return nil, err
		}
		if m[string(key)], err = d.any(depth + 1); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// restOfMap goes on where a key is no text.
func (d *decoder) restOfMap(read map[string]any, left, depth int) (any, error) {
	pairs := make(Map, 0, len(read)+left)
	for key, v := range read {
		pairs = append(pairs, MapEntry{key, v})
	}
	comparable := true
	for range left {
		key, err := d.any(depth + 1)
		if err != nil {
			return nil, err
		}
		v, err := d.any(depth + 1)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, MapEntry{key, v})
		switch key.(type) {
		case []byte, []any, map[string]any, map[any]any, Map, Ext:
			comparable = false
		}
	}
	if !comparable {
		return pairs, nil
	}
	m := make(map[any]any, len(pairs))
	for _, pair := range pairs {
		m[pair.Key] = pair.Value
	}
	return m, nil
}

// ext reads a time.Time, a Timestamp or an Ext.
func (d *decoder) ext() (any, error) {
	head := d.peek()
	d.at++
	size := 1
	var err error
	if head >= 0xd4 {
		size = 1 << (head - 0xd4)
	} else if size, err = d.length(head - 0xc7); err != nil {
		return nil, err
	}
	kind, err := d.number(1)
	if err != nil {
		return nil, err
	}
	data, err := d.take(size)
	if err != nil {
		return nil, err
	}
	if int8(kind) == -1 {
		if t, ok := timestampIn(data); ok {
			if at, exact := t.Time(); exact {
				return at, nil
			}
			return t, nil
		}
	}
	return Ext{Type: int8(kind), Data: bytes.Clone(data)}, nil
}

func timestampIn(data []byte) (t Timestamp, ok bool) {
	switch len(data) {
	case 4:
		t.Seconds = int64(binary.BigEndian.Uint32(data))
	case 8:
		both := binary.BigEndian.Uint64(data)
		t = Timestamp{Seconds: int64(both & (1<<34 - 1)), Nanos: uint32(both >> 34)}
	case 12:
		t.Nanos = binary.BigEndian.Uint32(data)
		t.Seconds = int64(binary.BigEndian.Uint64(data[4:]))
	default:
		return t, false
	}
	return t, t.Nanos <= nanosMax
}

// skip passes over a value, whose parts are `depth` deep.
func (d *decoder) skip(depth int) error {
	head := d.peek()
	if !isArray(head) && !isMap(head) {
		_, err := d.any(depth)
		return err
	}
	each := 1
	if isMap(head) {
		each = 2
	}
	count, err := d.count(each, depth)
	if err != nil {
		return err
	}
	for range count * each {
		if err := d.skip(depth + 1); err != nil {
			return err
		}
	}
	return nil
}

// timeOf reads a timestamp for a type that wants one.
func (d *decoder) timeOf(t reflect.Type) (any, error) {
	value, err := d.any(0)
	if err != nil {
		return nil, err
	}
	switch v := value.(type) {
	case time.Time:
		if t == timestampType {
			return TimestampOf(v), nil
		}
		return v, nil
	case Timestamp:
		if t == timestampType {
			return v, nil
		}
	case nil:
		return reflect.Zero(t).Interface(), nil
	}
	return nil, mismatch(value, t)
}
