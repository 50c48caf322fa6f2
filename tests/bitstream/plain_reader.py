"""A reader of `.codes` files after docs/codes-format.md, as others would write it: nothing of audiovq is used."""

import zlib

RATES = (0, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000)


class Bytes:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        assert self.at + count <= len(self.data), "truncated"
        self.at += count
        return self.data[self.at - count : self.at]

    def u(self, count):
        return int.from_bytes(self.take(count), "big")

    def varint(self):
        b = self.u(1)
        if b <= 240:
            return b
        if b <= 248:
            return 240 + 256 * (b - 241) + self.u(1)
        return 2288 + self.u(2) if b == 249 else self.u(b - 247)


def read(data, tables=None):
    """Facts and codes [C][Q][F] of a file; `tables` are the tensors of a tables coder, by name."""
    file, facts = Bytes(data), {}
    assert file.take(4) == b"\x89VQ\x01"
    end = file.varint() + file.at
    kind = file.u(1)
    coding, image, flags = kind & 3, kind >> 2 & 1, kind >> 3
    channels = 1
    if image:
        height, width, stride, step = (file.varint() for _ in range(4))
        total = -(-height // stride) * -(-width // stride)
    else:
        codes = file.u(1)
        rate, model_rate = (RATES[c] or file.varint() for c in (codes >> 4, codes & 15))
        hop, step = file.varint(), file.varint()
        channels = file.u(1) if flags & 16 else 1
        samples = None if flags & 8 else file.varint()
        total = None if samples is None else -(-samples * model_rate // (rate * hop))
    facts["fingerprint"], facts["model"] = file.take(6).hex(), file.take(file.u(1)).decode()
    sizes, more = [], True
    while more:
        run = file.u(1)
        more = run >> 7
        sizes += [1 << (run & 31) if run & 31 else file.varint()] * ((run >> 5 & 3) + 1)
    if coding:
        facts["coder"] = file.take(4).hex()
    file.at = end - 4
    crc = file.u(4)
    assert crc == zlib.crc32(data[: end - 4])
    found = [[[] for _ in sizes] for _ in range(channels)]
    index = done = 0
    while total is None or done < total:
        start = file.at
        frames = min(step, total - done) if total is not None else file.varint()
        if not frames:
            samples = file.u(8)
            total = -(-samples * model_rate // (rate * hop))
        packed = -(-channels * frames * sum((k - 1).bit_length() for k in sizes) // 8)
        length = (file.varint() if coding else packed) if frames else 0
        begun = zlib.crc32(crc.to_bytes(4, "big") + index.to_bytes(8, "big") + data[start : file.at])
        check, payload = file.u(3), file.take(length)
        assert check == zlib.crc32(payload, begun) & 0xFFFFFF
        if frames and length == packed:
            bits = int.from_bytes(payload, "big") >> (-channels * frames * sum((k - 1).bit_length() for k in sizes) % 8)
            for q in reversed(range(len(sizes))):
                width = (sizes[q] - 1).bit_length()
                for c in reversed(range(channels)):
                    row = [bits >> width * f & (1 << width) - 1 for f in reversed(range(frames))]
                    bits >>= width * frames
                    found[c][q] += row
        elif frames:
            untabled(payload, tables, [[found[c][q] for q in range(len(sizes))] for c in range(channels)], frames)
        index, done = index + 1, done + frames
    assert file.at == len(data)
    return facts | {"num_samples": None if image else samples}, found


def untabled(payload, tables, found, frames):
    """Appends the codes of a packet that is coded by tables to the lists `found[c][q]`."""
    value, at = int.from_bytes(payload[:6].ljust(6, b"\0"), "big"), 6
    width = 2**48 - 1
    for levels in found:
        row = len(tables["0.bias"])
        for _ in range(frames):
            for q, level in enumerate(levels):
                frequency, unit = part(tables, q, row), width >> 16
                target, code = value // unit, 0
                while target >= frequency[code]:
                    target, value = target - frequency[code], value - unit * frequency[code]
                    code += 1
                width = unit * frequency[code]
                while width < 2**32:
                    value = value << 16 | int.from_bytes(payload[at : at + 2].ljust(2, b"\0"), "big")
                    width, at = width << 16, at + 2
                level.append(code)
                row = code
            row = levels[0][-1]


def part(tables, q, row):
    """The frequencies of all values of a code at level q, after `row`."""
    context, output = tables[f"{q}.context"][row].tolist(), tables[f"{q}.output"].tolist()
    bias = tables[f"{q}.bias"].tolist()
    logits = [sum(x * y for x, y in zip(context, out, strict=True)) + b for out, b in zip(output, bias, strict=True)]
    weights = [EXP[min(max(logits) - x >> 5, 511)] >> 42 for x in logits]
    found = [1 + w * (65536 - len(bias)) // sum(weights) for w in weights]
    found[logits.index(max(logits))] += 65536 - sum(found)
    return found


def exponentials():
    e, term, k, found = 0, 2**62, 0, [2**62]
    while term:
        e, k = e + (term if k % 2 == 0 else -term), k + 1
        term //= 32 * k
    while len(found) < 512:
        found.append(found[-1] * e >> 62)
    return found


EXP = exponentials()
