package lever

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"strings"
)

// MessagePack into variables of a type.

// value reads the next value into v, which can be set. nil makes anything zero.
func (d *decoder) value(v reflect.Value, depth int) error {
	t := v.Type()
	switch t {
	case timeType, timestampType:
		at, err := d.timeOf(t)
		if err == nil {
			v.Set(reflect.ValueOf(at))
		}
		return err
	case extType, mapType:
		return d.ownType(v, depth)
	case rawType:
		begin := d.at
		if err := d.skip(depth); err != nil {
			return err
		}
		v.SetBytes(bytes.Clone(d.data[begin:d.at]))
		return nil
	}
	if d.peek() == 0xc0 {
		d.at++
		v.SetZero()
		return nil
	}
	if v.Kind() == reflect.Pointer {
		return d.pointer(v, depth)
	}
	if v.Kind() == reflect.Interface {
		return d.toInterface(v, depth)
	}
	if itself := readsItself(v); itself != nil {
		return d.unmarshal(itself)
	}
	switch v.Kind() {
	case reflect.Slice, reflect.Array:
		return d.slice(v, depth)
	case reflect.Map:
		return d.toMap(v, depth)
	case reflect.Struct:
		return d.toStruct(v, depth)
	default:
		return d.toScalar(v)
	}
}

// pointer makes what is pointed to, down to a type that is no pointer.
func (d *decoder) pointer(v reflect.Value, depth int) error {
	for hops := 0; v.Kind() == reflect.Pointer; hops++ {
		if hops == depthMax {
			return errDepth
		}
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	return d.value(v, depth)
}

func (d *decoder) toInterface(v reflect.Value, depth int) error {
	value, err := d.any(depth)
	if err != nil {
		return err
	}
	at := reflect.ValueOf(value)
	if !at.Type().AssignableTo(v.Type()) {
		return mismatch(value, v.Type())
	}
	v.Set(at)
	return nil
}

// ownType reads an Ext or a Map.
func (d *decoder) ownType(v reflect.Value, depth int) error {
	value, err := d.any(depth)
	if err != nil {
		return err
	}
	if value == nil {
		v.SetZero()
		return nil
	}
	if v.Type() == mapType {
		switch m := value.(type) {
		case map[string]any:
			value = pairsOf(m)
		case map[any]any:
			value = pairsOf(m)
		}
	}
	if reflect.TypeOf(value) != v.Type() {
		return mismatch(value, v.Type())
	}
	v.Set(reflect.ValueOf(value))
	return nil
}

func pairsOf[K comparable](m map[K]any) Map {
	pairs := make(Map, 0, len(m))
	for key, v := range m {
		pairs = append(pairs, MapEntry{key, v})
	}
	return pairs
}

func (d *decoder) slice(v reflect.Value, depth int) error {
	t := v.Type()
	head := d.peek()
	if t.Elem().Kind() == reflect.Uint8 && (isText(head) || head >= 0xc4 && head <= 0xc6) {
		return d.toBytes(v)
	}
	if !isArray(head) {
		return d.refuse(t)
	}
	count, err := d.count(1, depth)
	if err != nil {
		return err
	}
	if t.Kind() == reflect.Array {
		if count > t.Len() {
			return fmt.Errorf("an array of %d does not go into a %s", count, t)
		}
		v.SetZero()
		return d.elements(v, count, depth)
	}
	// The elements may be much larger than what they are read from: memory grows with what was read.
	const preparedMax = 1024
	made := reflect.MakeSlice(t, 0, min(count, preparedMax))
	for done := 0; done < count; {
		more := min(count-done, max(preparedMax, done))
		made = reflect.AppendSlice(made, reflect.MakeSlice(t, more, more))
		if err := d.elements(made.Slice(done, done+more), more, depth); err != nil {
			return err
		}
		done += more
	}
	v.Set(made)
	return nil
}

func (d *decoder) elements(v reflect.Value, count, depth int) error {
	for i := range count {
		if err := d.value(v.Index(i), depth+1); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return nil
}

func (d *decoder) toBytes(v reflect.Value) error {
	data, err := d.chunk()
	if err != nil {
		return err
	}
	if v.Kind() == reflect.Slice {
		v.SetBytes(bytes.Clone(data))
		if data != nil && v.IsNil() {
			v.SetBytes([]byte{})
		}
		return nil
	}
	if len(data) != v.Len() {
		return fmt.Errorf("%d bytes do not go into a %s", len(data), v.Type())
	}
	for i, b := range data {
		v.Index(i).SetUint(uint64(b))
	}
	return nil
}

func (d *decoder) toMap(v reflect.Value, depth int) error {
	t := v.Type()
	if !isMap(d.peek()) {
		return d.refuse(t)
	}
	count, err := d.count(2, depth)
	if err != nil {
		return err
	}
	made := reflect.MakeMap(t)
	for range count {
		key := reflect.New(t.Key()).Elem()
		if err := d.value(key, depth+1); err != nil {
			return err
		}
		if !key.Comparable() {
			return mismatch(key.Interface(), t)
		}
		element := reflect.New(t.Elem()).Elem()
		if err := d.value(element, depth+1); err != nil {
			return fmt.Errorf("[%v]: %w", key, err)
		}
		made.SetMapIndex(key, element)
	}
	v.Set(made)
	return nil
}

func (d *decoder) toStruct(v reflect.Value, depth int) error {
	t := v.Type()
	if !isMap(d.peek()) {
		return d.refuse(t)
	}
	count, err := d.count(2, depth)
	if err != nil {
		return err
	}
	fields := fieldsOf(t)
	v.SetZero()
	for range count {
		var at *field
		if isText(d.peek()) {
			name, err := d.chunk()
			if err != nil {
				return err
			}
			if at = fields.byName[string(name)]; at == nil {
				at = fields.byFold[strings.ToLower(string(name))]
			}
		} else if err := d.skip(depth + 1); err != nil {
			return err
		}
		if at == nil {
			err = d.skip(depth + 1)
		} else if err = d.value(fieldFor(v, at.index), depth+1); err != nil {
			err = fmt.Errorf("%s.%s: %w", t.Name(), at.name, err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// fieldFor finds a field, and makes what it is embedded in on the way.
func fieldFor(v reflect.Value, index []int) reflect.Value {
	for i, n := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(n)
	}
	return v
}

// toScalar reads numbers, which must be in the range of what they go into, texts and booleans.
func (d *decoder) toScalar(v reflect.Value) error {
	t := v.Type()
	head := d.peek()
	if isArray(head) || isMap(head) {
		return d.refuse(t)
	}
	value, err := d.any(0)
	if err != nil {
		return err
	}
	fits := false
	switch value := value.(type) {
	case bool:
		if fits = v.Kind() == reflect.Bool; fits {
			v.SetBool(value)
		}
	case string:
		if fits = v.Kind() == reflect.String; fits {
			v.SetString(value)
		}
	case int64:
		fits = setInt(v, value)
	case uint64:
		if fits = v.CanUint() && !v.OverflowUint(value); fits {
			v.SetUint(value)
		} else if fits = v.CanFloat(); fits {
			v.SetFloat(float64(value))
		}
	case float64:
		if fits = v.CanFloat() && (math.IsInf(value, 0) || !v.OverflowFloat(value)); fits {
			v.SetFloat(value)
		}
	}
	if !fits {
		return mismatch(value, t)
	}
	return nil
}

func setInt(v reflect.Value, value int64) bool {
	switch {
	case v.CanInt():
		if v.OverflowInt(value) {
			return false
		}
		v.SetInt(value)
	case v.CanUint():
		if value < 0 || v.OverflowUint(uint64(value)) {
			return false
		}
		v.SetUint(uint64(value))
	case v.CanFloat():
		v.SetFloat(float64(value))
	default:
		return false
	}
	return true
}

// refuse says that the value that comes next does not go into a type.
func (d *decoder) refuse(t reflect.Type) error {
	head := d.peek()
	switch {
	case isArray(head):
		return mismatch([]any{}, t)
	case isMap(head):
		return mismatch(Map{}, t)
	}
	value, err := d.any(0)
	if err != nil {
		return err
	}
	return mismatch(value, t)
}
