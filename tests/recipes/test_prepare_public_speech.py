"""The public speech recipe: nothing that is held back or reserved may be in any training list."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiovq.data.kaldi.datadir import DataDir, validate
from audiovq.errors import BadDataError

TRAINING = ("libri", "speechocean", "kerstin", "intent", "minivctk")


@pytest.fixture(scope="module")
def recipe(load_recipe):
    return load_recipe("prepare_public_speech")


def sound(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(16, np.int16), 16000)


def minivctk_rows() -> list[tuple[str, str, str, list[str]]]:
    """(speaker, gender, repository, source path of each clip): the real corpus's families, smaller."""
    rows = []
    for n in range(225, 229):
        rows.append((f"p{n}", "FMMF"[n - 225], "auspicious3000/autovc", [f"wavs/p{n}/{k}.wav" for k in range(4)]))
    folder = "audio_data/librispeech_test-other/2033"
    rows.append(("p401", "M", "resemble-ai/Resemblyzer", [f"{folder}/2033-1-000{k}.flac" for k in range(3)]))
    for n in range(411, 431):  # three clips of one recording, as in the real one
        source = f"audio_data/librispeech_train-clean-100/{n - 400}-5-0000.flac"
        rows.append((f"p{n}", "FM"[n % 2], "resemble-ai/Resemblyzer", [source] * (2 if n == 415 else 3)))
    for n in range(501, 521):
        sources = [f"WAVE/SPEAKER{n}/0{n}{k:04d}.WAV" for k in range(4)]
        rows.append((f"p{n}", "FM"[n % 2], "jimbozhang/speechocean762", sources))
    kerstin = [f"verified/de_rhasspy-{k:04d}.flac" for k in range(0, 15, 3)]
    rows.append(("p604", "F", "rhasspy/dataset-voice-kerstin", kerstin))
    return rows


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(sources, minivctk): each source also has other persons, and other recordings of minivctk's persons."""
    root = tmp_path_factory.mktemp("public")
    sources, minivctk = root / "sources", root / "minivctk"
    manifest, info = [], ["ID AGE GENDER ACCENTS REGION COMMENTS"]
    for speaker, gender, repository, paths in minivctk_rows():
        info.append(f"{speaker}  NA  {gender}  Unknown  Unknown")
        for number, path in enumerate(paths, start=1):
            file = f"wav48_silence_trimmed/{speaker}/{speaker}_{number:03d}_mic1.flac"
            sound(minivctk / file)
            sound(sources / repository.split("/")[1] / path)
            manifest.append({"file": file, "speaker": speaker, "repository": repository, "path": path})
    with (minivctk / "manifest.csv").open("w", newline="") as lines:
        writer = csv.DictWriter(lines, ["file", "speaker", "repository", "path"])
        writer.writeheader()
        writer.writerows(manifest)
    (minivctk / "speaker-info.txt").write_text("\n".join(info) + "\n")
    (minivctk / "txt/p225").mkdir(parents=True)
    (minivctk / "txt/p225/p225_001.txt").write_text("Please call\n Stella.\n")
    # others
    for reader in range(200, 206):
        sound(sources / f"Resemblyzer/audio_data/librispeech_train-clean-100/{reader}-5-0000.flac")
    sound(sources / "Resemblyzer/audio_data/librispeech_test-other/1688/1688-1-0000.flac")
    for k in range(40):
        sound(sources / f"dataset-voice-kerstin/verified/de_rhasspy-{k:04d}.flac")
        sound(sources / f"speech-to-intent-benchmark/data/speech/clean/{k:02d}ab.wav")
    (sources / "dataset-voice-kerstin/metadata.csv").write_text("de_rhasspy-0006|Guten Tag.\n")
    ocean = sources / "speechocean762"
    for n in range(501, 523):
        for k in range(6):  # 4 and 5 are not in minivctk
            sound(ocean / f"WAVE/SPEAKER{n}/0{n}{k:04d}.WAV")
    files = sorted(p.relative_to(ocean).as_posix() for p in ocean.rglob("*.WAV"))
    for part, listed in (("train", files[::2]), ("test", files[1::2])):
        (ocean / part).mkdir()
        (ocean / part / "wav.scp").write_text("".join(f"{Path(f).stem}\t{f}\n" for f in listed))
        (ocean / part / "text").write_text("".join(f"{Path(f).stem}\tWE CALL IT BEAR\n" for f in listed))
    sound(ocean / "WAVE/SPEAKER501/unlisted.WAV")
    return sources, minivctk


@pytest.fixture(scope="module")
def prepared(recipe, trees: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    recipe.prepare(*trees, out, allow_partial=True)
    return out


def test_without_sources_the_held_back_sets_are_the_same(
    recipe, prepared: Path, trees: tuple[Path, Path], tmp_path: Path
):
    recipe.prepare(None, trees[1], tmp_path / "alone", allow_partial=True)
    assert sorted(p.name for p in (tmp_path / "alone").iterdir() if p.is_dir()) == ["dev", "eval", "minivctk"]
    for name in ("dev", "eval", "minivctk"):
        for file in sorted((prepared / name).iterdir()):
            assert (tmp_path / "alone" / name / file.name).read_bytes() == file.read_bytes()


def manifest(minivctk: Path) -> dict[str, tuple[str, str]]:
    """minivctk's utterance id -> (speaker, source file relative to the sources)."""
    with (minivctk / "manifest.csv").open() as lines:
        return {
            Path(r["file"]).name.removesuffix("_mic1.flac"): (
                r["speaker"],
                f"{r['repository'].split('/')[1]}/{r['path']}",
            )
            for r in csv.DictReader(lines)
        }


def test_no_held_back_recording_or_person_is_in_any_training_list(prepared: Path, trees: tuple[Path, Path]):
    sources, minivctk = trees
    origin = manifest(minivctk)
    groups = dict(line.split() for line in (prepared / "eval/utt2group").read_text().splitlines())
    held = set(groups) | {u.id for u in DataDir.read(prepared / "dev").utterances}
    held_files = {str(sources / origin[u][1]) for u in held}
    unseen = {origin[u][0] for u, group in groups.items() if group == "unseen"}
    # a person's files in the sources, told by what the file names say
    unseen_tokens = {f"/{int(s[1:]) - 400}-5-" for s in unseen if "p411" <= s <= "p430"}
    unseen_tokens |= {f"/SPEAKER{s[1:]}/" for s in unseen if s >= "p501"}
    assert len(unseen_tokens) == 12
    for name in TRAINING:
        for u in DataDir.read(prepared / name).utterances:
            assert u.id not in held
            assert u.recording not in held_files
            assert u.speaker not in unseen
            assert not any(token in u.recording for token in unseen_tokens)
            assert "test-other" not in u.recording
            assert "unlisted" not in u.recording


def test_nothing_else_is_lost(prepared: Path, trees: tuple[Path, Path]):
    origin = manifest(trees[1])
    held = {u.id for name in ("dev", "eval") for u in DataDir.read(prepared / name).utterances}
    libri = DataDir.read(prepared / "libri").utterances
    held_readers = {origin[u][0] for u in held if "train-clean" in origin[u][1]}
    assert len(libri) == 26 - len(held_readers)
    assert {u.speaker for u in libri} >= {f"ls{n}" for n in range(200, 206)}
    ocean = DataDir.read(prepared / "speechocean").utterances
    seen_ocean = [u for u in held if "speechocean" in origin[u][1] and origin[u][0] not in unseen_of(prepared)]
    assert len(ocean) == (22 - 6) * 6 - len(seen_ocean)
    assert {u.text for u in ocean} == {"WE CALL IT BEAR"}
    assert len(DataDir.read(prepared / "intent").utterances) == 40
    kerstin = DataDir.read(prepared / "kerstin").utterances
    assert {u.speaker for u in kerstin} == {"p604"}  # the person keeps minivctk's name
    assert len(kerstin) == 14 - len([u for u in held if "kerstin" in origin[u][1]])
    assert [u.text for u in kerstin if u.id == "p604-de_rhasspy-0006"] == ["Guten Tag."]
    mini = {u.id for u in DataDir.read(prepared / "minivctk").utterances}
    assert mini == {u for u, (speaker, _) in origin.items() if u not in held and speaker not in unseen_of(prepared)}


def unseen_of(prepared: Path) -> set[str]:
    rows = (line.split() for line in (prepared / "eval/utt2group").read_text().splitlines())
    return {u.split("_")[0] for u, group in rows if group == "unseen"}


def test_held_back_sets_are_what_the_rule_says(prepared: Path):
    rows = [line.split() for line in (prepared / "eval/utt2group").read_text().splitlines()]
    unseen = sorted(u for u, group in rows if group == "unseen")
    seen = {u.split("_")[0] for u, group in rows if group == "seen"}
    assert (len(unseen), len(rows)) == (14, 42)
    last = [f"p{n}_001" for n in (227, 228, *range(425, 431), *range(515, 521))]
    assert unseen == last
    trained = {u.speaker for u in DataDir.read(prepared / "minivctk").utterances}
    assert seen <= trained
    assert not seen & unseen_of(prepared)
    dev = DataDir.read(prepared / "dev")
    assert set(dev.speakers) <= trained - seen
    assert len(dev.utterances) > 0


def test_the_lists_are_sound_and_a_second_run_writes_the_same_bytes(recipe, prepared: Path, trees: tuple[Path, Path]):
    before = {p: p.read_bytes() for p in prepared.rglob("*") if p.is_file()}
    for name in (*TRAINING, "dev", "eval"):
        assert validate(prepared / name) == []
    recipe.prepare(*trees, prepared, allow_partial=True)
    assert {p: p.read_bytes() for p in prepared.rglob("*") if p.is_file()} == before


def test_wrong_counts_and_missing_checkouts_fail_by_name(recipe, trees: tuple[Path, Path], tmp_path: Path):
    sources, minivctk = trees
    with pytest.raises(BadDataError, match="26 libri files found, 251 expected"):
        recipe.prepare(sources, minivctk, tmp_path / "out")
    with pytest.raises(BadDataError, match=r"Resemblyzer: no such folder; clone https://github.com/resemble-ai"):
        recipe.prepare(tmp_path, minivctk, tmp_path / "out")
    with pytest.raises(BadDataError, match=r"manifest\.csv: missing; --minivctk"):
        recipe.prepare(sources, tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_reserved_clips_are_told_by_name(recipe):
    assert recipe.is_reserved("resemble-ai/Resemblyzer", "audio_data/librispeech_test-other/367/367-1-0001.flac")
    assert recipe.is_reserved("yl4579/StarGANv2-VC", "Demo/VCTK-corpus/p236/p236_023.wav")
    assert not recipe.is_reserved("resemble-ai/Resemblyzer", "audio_data/librispeech_train-clean-100/87-1-0000.flac")


def test_the_real_minivctk_gives_the_documented_sets(recipe, minivctk: Path):
    run = recipe.Preparation(minivctk, minivctk)
    held = run.held_back
    assert (len(run.clips), len(held.unseen), len(held.seen), len(held.dev)) == (339, 14, 28, 16)
    assert {"p227", "p228", "p433", "p456", "p514", "p528"} <= held.unseen_speakers
    assert len({c.id for c in held.clips}) == 58
