import pytest

from catdog.data.clutter import is_clutter


@pytest.mark.parametrize(
    "path",
    [
        *("_DS_Store", ".DS_Store", "cats/_ds_store", "cats/Thumbs.db", "cats/THUMBS.DB", "ehthumbs.db", "Desktop.ini"),
        *("__MACOSX/cats/1.jpg", "__MACOSX\\cats\\1.jpg", "cats/._1.jpg", ".git/cats/1.jpg", "cats/@eaDir/1.jpg"),
        *(".ipynb_checkpoints/1.jpg", "$RECYCLE.BIN/1.jpg", "System Volume Information/1.jpg", "lost+found/1"),
        *(
            "labels.csv",
            "cats/1.xml",
            "cats/1.TXT",
            "_annotations.coco.json",
            "README",
            "LICENSE",
            "README.dataset.txt",
        ),
        *("notes.md", "data.yaml", "train.ipynb", "Icon\r"),
    ],
)
def test_clutter(path: str) -> None:
    assert is_clutter(path)


@pytest.mark.parametrize(
    "path",
    [
        *("cats/1.jpg", "1", "cats/readme 1.jpg", "../cats/1.jpg", "./1.png", "C:\\pets\\1.jpg", "cats/1.txt.jpg"),
        *("movie.mp4", "inner.zip", "cats/thumbs.db.png", "txt", "", "source.jpg"),
    ],
)
def test_potential_images(path: str) -> None:
    assert not is_clutter(path)
