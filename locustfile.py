"""The load of people and programs that use a server: half of them predict, the others look.

    locust -f locustfile.py --host=http://localhost:5000                       # page at http://localhost:8089
    locust -f locustfile.py --host=http://localhost:5000 --headless -u 100 -r 10 -t 60s
    locust -f locustfile.py --host=http://localhost:5000 --tags predict --max-wait 0

Photographs come from the folder `--pictures`, or `$CATDOG_SHARED/photos`; where there is neither, drawn ones are sent.
A server on the same machine does not count such users against its limits unless a proxy stands between; then, and from
another machine, start it with `CATDOG_RATE_LIMIT=off`, since all users here have one address. See docs/deployment.md.
"""

import io
import os
import random
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, NamedTuple

from locust import FastHttpUser, events, tag, task
from locust.env import Environment
from PIL import Image, ImageDraw
from urllib3.filepost import encode_multipart_formdata

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
DRAWN = 20
MOST_PICTURES = 500
"""Forms are kept in memory, so that the load takes little of the time of the server beside it."""


class Form(NamedTuple):
    """A picture as it is sent: a body of multipart/form-data, and its type with the boundary."""

    body: bytes
    content_type: str


forms: list[Form] = []


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    """Add what can be said about pictures and pauses to locust's own options."""
    parser.add_argument("--pictures", env_var="CATDOG_PICTURES", default="", help="Folder of photographs to send")
    parser.add_argument("--min-wait", type=float, default=0.5, help="Least seconds that a user waits between requests")
    parser.add_argument("--max-wait", type=float, default=2.0, help="Most seconds; 0 for users who never wait")


@events.test_start.add_listener
def read_pictures(environment: Environment, **_: Any) -> None:
    """Read or draw the pictures, once, before the first user comes."""
    folder = environment.parsed_options.pictures if environment.parsed_options else ""
    paths = find_pictures(folder)
    pictures = [path.read_bytes() for path in paths] or [draw(number) for number in range(DRAWN)]
    forms[:] = [
        Form(*encode_multipart_formdata({"image": (f"{number}.jpg", picture, "image/jpeg")}))
        for number, picture in enumerate(pictures)
    ]
    print(f"{len(forms)} pictures, {'photographs' if paths else 'drawn'}, {sum(map(len, pictures)):,} bytes")


def find_pictures(folder: str) -> list[Path]:
    """List the photographs to send: of a folder, else of `$CATDOG_SHARED/photos`; none where that is not there.

    Raises:
        SystemExit: a folder was named, and there are no pictures in it.
    """
    shared = Path(os.environ.get("CATDOG_SHARED", "../shared")) / "photos"
    root = Path(folder) if folder else shared
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if folder and not found:
        raise SystemExit(f"--pictures must name a folder with JPEG, PNG or WebP files. Received: {folder}")
    return random.Random(7).sample(found, min(len(found), MOST_PICTURES))


def draw(number: int) -> bytes:
    """Draw a head with two ears on noise, of the size that photographs have, as a JPEG."""
    chance = random.Random(number)
    picture = Image.effect_noise((500, 375), 60).convert("RGB")
    pen = ImageDraw.Draw(picture)
    x, y, radius = chance.randint(150, 350), chance.randint(150, 250), chance.randint(60, 110)
    fur = tuple(chance.randint(30, 220) for _ in range(3))
    for side in (-1, 1):
        tip = (x + side * radius, y - 1.7 * radius)
        pen.polygon([(x, y - 0.5 * radius), tip, (x + side * radius, y)], fill=fur)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fur)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


class Visitor(FastHttpUser):
    """One user: predicts three times as often as it does each of the other things."""

    def wait_time(self) -> float:
        """Give the seconds until the next request."""
        options = self.environment.parsed_options
        return random.uniform(min(options.min_wait, options.max_wait), options.max_wait)

    @tag("predict")
    @task(3)
    def predict(self) -> None:
        """Send a picture; an answer without a class is a failure too."""
        form = random.choice(forms)
        headers = {"Content-Type": form.content_type}
        with self.client.post("/api/predict", data=form.body, headers=headers, catch_response=True) as response:
            if response.status_code == 200 and "class" not in response.json():
                response.failure(f"an answer without a class: {response.text[:200]}")

    @task
    def model_status(self) -> None:
        """Ask which version answers."""
        self.client.get("/api/model/status")

    @task
    def stats(self) -> None:
        """Ask for the statistics."""
        self.client.get("/api/stats")

    @task
    def health(self) -> None:
        """Ask whether the server is well."""
        self.client.get("/api/health")

    @task
    def retrain_status(self) -> None:
        """Ask how the last retraining goes or went."""
        self.client.get("/api/retrain/status")

    @task
    def home(self) -> None:
        """Open the page."""
        self.client.get("/")
