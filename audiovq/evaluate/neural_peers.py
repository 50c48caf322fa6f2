"""Neural codecs for comparison on the same files, with weights that the user has: Lyra, and those of transformers.

Nothing is downloaded: `--weights NAME=DIR` names a folder. Files hold the packed codes and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from audiovq.evaluate.roundtrip import Coder
from audiovq.metrics.speech import Waveform
from audiovq.prior.base import Codes

LYRA_RATE, LYRA_HOP, LYRA_LEVELS, LYRA_BITS = 16000, 320, 46, 4
LYRA_MODES = {"3.2": 16, "6": 30, "9.2": 46}  # kbit/s -> levels
LYRA_FILES = ("soundstream_encoder", "quantizer", "lyragan")


def coded(
    name: str,
    rate: int,
    levels: int,
    width: int,
    analyse: Callable[[Waveform], Codes],
    synthesize: Callable[[Codes], Waveform],
) -> Coder:
    """A codec of codes `[levels, F]` of `width` bits, as one that writes files of those bits and a count of frames."""
    places = np.arange(width)[::-1]

    def encode(waveform: Waveform, speaker: str) -> bytes:
        codes = analyse(waveform)
        bits = (codes.T[..., None] >> places) & 1
        return codes.shape[1].to_bytes(4, "little") + np.packbits(bits.astype(np.uint8)).tobytes()

    def decode(data: bytes) -> Waveform:
        frames = int.from_bytes(data[:4], "little")
        bits = np.unpackbits(np.frombuffer(data, np.uint8, offset=4), count=frames * levels * width)
        codes = bits.reshape(frames, levels, width).astype(np.int64) @ (1 << places)
        return synthesize(codes.T)

    def payload_bits(data: bytes) -> int:
        return int.from_bytes(data[:4], "little") * levels * width

    return Coder(name, rate, encode, decode, payload_bits, "a count of frames", exact=False)


def lyra(mode: str, folder: Path) -> Coder:
    """Lyra 2 from its three TFLite files, frame by frame with fresh state. ImportError, OSError if it can't be had."""
    from ai_edge_litert.interpreter import Interpreter

    for name in LYRA_FILES:
        if not (folder / f"{name}.tflite").is_file():
            raise OSError(f"{folder}: no {name}.tflite; they lie in lyra/model_coeffs of google/lyra")
    levels = LYRA_MODES[mode]

    def load(name: str) -> Any:
        network = Interpreter(str(folder / f"{name}.tflite"), num_threads=1)
        network.allocate_tensors()
        return network

    quantizer = load("quantizer")
    to_codes, to_features = (quantizer.get_signature_runner(name) for name in ("encode", "decode"))

    def analyse(waveform: Waveform) -> Codes:
        encoder = load("soundstream_encoder").get_signature_runner()  # new: it carries the state of a stream
        padded = np.pad(waveform, (0, -len(waveform) % LYRA_HOP))
        frames = []
        for hop in padded.reshape(-1, 1, LYRA_HOP).astype(np.float32):
            features = encoder(input_audio=hop)["output_0"]
            found = to_codes(input_frames=features, num_quantizers=np.array(levels, np.int32))
            frames.append(found["output_0"].reshape(-1)[:levels])
        return np.stack(frames, axis=1).astype(np.int64)

    def synthesize(codes: Codes) -> Waveform:
        decoder = load("lyragan").get_signature_runner()
        hops = []
        for frame in codes.T:
            indices = np.full((LYRA_LEVELS, 1, 1), -1, np.int32)
            indices[:levels, 0, 0] = frame
            features = to_features(encoding_indices=indices)["output_0"]
            hops.append(decoder(input_audio=features)["output_0"].reshape(-1))
        return np.concatenate(hops).astype(np.float32)

    return coded(f"Lyra 2 {mode}k", LYRA_RATE, levels, LYRA_BITS, analyse, synthesize)


def from_transformers(kind: str, mode: str, folder: Path) -> Coder:
    """EnCodec, DAC or Mimi from a folder that transformers reads. ImportError, OSError if it can't be had.

    mode: kbit/s; as many levels as fit, one at least.
    """
    import torch
    import transformers

    classes = {"encodec": "EncodecModel", "dac": "DacModel", "mimi": "MimiModel"}
    model = getattr(transformers, classes[kind]).from_pretrained(folder, local_files_only=True).eval()
    config = model.config
    width = int(config.codebook_size - 1).bit_length()
    levels = max(1, int(1000 * float(mode) / (config.frame_rate * width) + 1e-6))

    @torch.inference_mode()
    def analyse(waveform: Waveform) -> Codes:
        sound = torch.from_numpy(waveform)[None, None]
        if kind == "encodec":
            codes = model.encode(sound, bandwidth=float(mode)).audio_codes[0]
        elif kind == "dac":
            codes = model.encode(sound, n_quantizers=levels).audio_codes
        else:
            codes = model.encode(sound, num_quantizers=levels).audio_codes
        return np.asarray(codes[0].numpy(), np.int64)

    @torch.inference_mode()
    def synthesize(codes: Codes) -> Waveform:
        given = torch.from_numpy(codes)[None]
        if kind == "encodec":
            found = model.decode(given[None], [None])
        elif kind == "dac":
            found = model.decode(audio_codes=given)
        else:
            found = model.decode(given)
        return np.asarray(found.audio_values.reshape(-1).numpy(), np.float32)

    name = f"{classes[kind].removesuffix('Model')} {mode}k"
    return coded(name, int(config.sampling_rate), levels, width, analyse, synthesize)
