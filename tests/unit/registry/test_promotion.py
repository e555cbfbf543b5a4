import json
from typing import Any

import pytest
from small_versions import save

from catdog.errors import VersionCorruptError
from catdog.features.backbone import Backbone
from catdog.registry.store import ModelStore


def test_the_last_1000_promotions_are_kept(store: ModelStore) -> None:
    save(store)
    history = [{"version": 1, "at": "", "reason": str(i)} for i in range(999)]
    (store.folder / "champion.json").write_text(json.dumps({"version": 1, "history": history}))
    for reason in ("the thousandth", "one more"):
        store.promote(1, reason)
        assert len(store.history()) == 1000
    assert [store.history()[i].reason for i in (0, 998, 999)] == ["1", "the thousandth", "one more"]


def test_a_promotion_changes_the_stamp(store: ModelStore) -> None:
    save(store, 2)
    stamps = [store.champion_stamp()]
    assert not store.has_promoted()
    for number in (1, 2, 2):
        store.promote(number, "test")
        stamps.append(store.champion_stamp())
    assert stamps[0] is None
    assert len(set(stamps)) == 4
    assert store.champion_stamp() == stamps[-1]


def test_a_promotion_is_remembered_though_the_champion_file_is_gone(store: ModelStore) -> None:
    save(store)
    store.promote(1, "test")
    assert store.has_promoted()
    (store.folder / "champion.json").unlink()
    assert store.has_promoted()
    assert store.champion() is None


def test_a_champion_file_from_elsewhere_counts_as_a_promotion(store: ModelStore) -> None:
    (store.folder / "champion.json").write_text('{"history": []}')
    assert store.has_promoted()
    assert store.champion() is None


def test_a_loaded_backbone_saves_loading_it(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    save(store, 2)
    folder = store.get(1).backbone_path
    backbones = [Backbone(folder, precision="f32", threads=2), Backbone(folder)]
    monkeypatch.setattr(Backbone, "__init__", lambda *_, **__: pytest.fail("it was loaded again"))
    for backbone in backbones:
        store.promote(1, "test", backbone=backbone)
        store.promote(2, "test", backbone=backbone)
        assert store.rollback(backbone=backbone) == 1


def test_promoting_by_hand_is_no_rollback(store: ModelStore) -> None:
    save(store, 2)
    for number, earlier in ((1, None), (1, None), (2, 1), (2, 1), (1, 2)):
        store.promote(number, "by hand")
        assert (store.champion(), store.earlier_champion()) == (number, earlier)
    assert [store.rollback(), store.rollback()] == [2, 1]


def test_the_history_says_which_version_a_rollback_left(store: ModelStore) -> None:
    save(store, 3)
    for number in (1, 2, 3):
        store.promote(number, "better")
    store.rollback()
    last = store.history()[-1]
    assert last.version == 2
    assert last.reason.endswith("version 3")


ENTRY = {"version": 1, "at": "", "reason": ""}


@pytest.mark.parametrize(
    "entry",
    [
        *({"version": 1}, {**ENTRY, "more": ""}, {**ENTRY, "version": "1"}, {**ENTRY, "version": True}, "text", [1]),
        *({**ENTRY, "version": 0}, {**ENTRY, "version": 10**9}, {**ENTRY, "at": 1}, {**ENTRY, "reason": None}),
    ],
)
def test_a_champion_file_with_another_entry_is_an_error(store: ModelStore, entry: Any) -> None:
    (store.folder / "champion.json").write_text(json.dumps({"history": [ENTRY, entry]}))
    with pytest.raises(VersionCorruptError, match=r"champion\.json"):
        store.champion()


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"history": 5}', None, "folder", "link", "circle"])
def test_a_champion_file_that_is_no_document_is_an_error(store: ModelStore, text: str | None) -> None:
    path = store.folder / "champion.json"
    if text == "folder":
        path.mkdir()
    elif text in ("link", "circle"):
        path.symlink_to("missing" if text == "link" else path.name)
    elif text is None:
        path.write_bytes(b"\xff")
    else:
        path.write_text(text)
    with pytest.raises(VersionCorruptError, match=r"champion\.json"):
        store.champion()
