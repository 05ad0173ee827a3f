"""docs/limits.md has every constant of the two headers of limits, with its value, and every counter that it
names is counted."""
import re

HEADERS = ('liblever/rpc/limits.h', 'liblever/host/gateway/http_limits.h')
OTHERS = {'kNanosPerSecond': 10**9, 'kNanosPerMilli': 10**6}
BORROWED = 'liblever/value/limits.h'
COUNTERS = 'liblever/rpc/counters.h'
PAGE = 'docs/limits.md'
UNITS = {'': 1, 'KiB': 1 << 10, 'MiB': 1 << 20, 'GiB': 1 << 30}
CONSTANT = re.compile(r'inline constexpr \w+ (k\w+) =\s*([^;]+);')


def evaluate(expression, known):
    expression = re.sub(r'\b(?:rpc|value)::', '', expression)
    expression = re.sub(r'\bsize_t\{(\d+)\}', r'\1', expression).replace("'", '').replace('/', '//')
    if not re.fullmatch(r'[\w\s*+/()<>-]+', expression):
        raise ValueError(expression)
    return eval(expression, {'__builtins__': {}}, known)


def constants(text, known):
    found = {}
    for name, expression in CONSTANT.findall(text):
        found[name] = known[name] = evaluate(expression, known)
    return found


def written(name, value):
    """The value as a number of the constant's own unit, or None."""
    match = re.fullmatch(r'([\d,]+)(?: (\w+))?', value)
    if not match:
        return None
    number, unit = int(match.group(1).replace(',', '')), match.group(2) or ''
    if name.endswith('Ns'):
        return number * {'s': 10**9, 'ms': 10**6}.get(unit, 0)
    if name.endswith('Seconds'):
        return number if unit == 's' else None
    return number * UNITS[unit] if unit in UNITS else None


def findings(read):
    known = dict(OTHERS)
    constants(read(BORROWED), known)
    wanted = {}
    for header in HEADERS:
        wanted |= constants(read(header), known)
    counters = set(re.findall(r'X\((\w+)\)', read(COUNTERS)))
    seen = set()
    for line in read(PAGE).splitlines():
        cells = [cell.strip() for cell in line.strip().strip('|').split('|')]
        if not line.startswith('|') or len(cells) != 5:
            continue
        for counter in re.findall(r'`(\w+)`', cells[4]):
            if counter not in counters:
                yield f'{PAGE}: there is no counter {counter}'
        for name in re.findall(r'`(k\w+)`', cells[1]):
            seen.add(name)
            if name not in wanted:
                yield f'{PAGE}: there is no constant {name}'
            elif written(name, cells[2]) != wanted[name]:
                yield f'{PAGE}: {name} is {wanted[name]}, not {cells[2]}'
    for name in sorted(set(wanted) - seen):
        yield f'{PAGE} lacks {name}'
    for counter in sorted(counters):
        if counter.startswith('limit_') and f'`{counter}`' not in read(PAGE):
            yield f'{PAGE} lacks the counter {counter}'
