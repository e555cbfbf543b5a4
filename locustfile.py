"""A load of users: half of them predict, the others use the page and the API.

    locust -f locustfile.py --host=http://localhost:5000                       # page at http://localhost:8089
    locust -f locustfile.py --host=http://localhost:5000 --headless -u 100 -r 10 -t 60s
    locust -f locustfile.py --host=http://localhost:5000 --tags predict --max-wait 0

Images come from the folder `--pictures`, or `$CATDOG_SHARED/photos`; otherwise they are drawn. All users share one
address, so start a server behind a proxy or on another machine with `CATDOG_RATE_LIMIT=off`. See docs/deployment.md.
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
MAX_IMAGES = 500
"""Maximum number of images, which are kept in memory to leave processor time to the server."""


class Form(NamedTuple):
    """An image as multipart/form-data: the body, and its content type with the boundary."""

    body: bytes
    content_type: str


forms: list[Form] = []


@events.init_command_line_parser.add_listener
def add_options(parser: ArgumentParser) -> None:
    """Add options for images and pauses to locust's."""
    parser.add_argument("--pictures", env_var="CATDOG_PICTURES", default="", help="Folder of images to send")
    parser.add_argument(
        "--min-wait", type=float, default=0.5, help="Minimum pause of a user between requests in seconds"
    )
    parser.add_argument("--max-wait", type=float, default=2.0, help="Maximum pause in seconds; 0 for no pauses")


@events.test_start.add_listener
def read_images(environment: Environment, **_: Any) -> None:
    """Read or draw the images before the first user starts."""
    folder = environment.parsed_options.pictures if environment.parsed_options else ""
    paths = find_images(folder)
    images = [path.read_bytes() for path in paths] or [draw(number) for number in range(DRAWN)]
    forms[:] = [
        Form(*encode_multipart_formdata({"image": (f"{number}.jpg", image, "image/jpeg")}))
        for number, image in enumerate(images)
    ]
    print(f"{len(forms)} images, {'photographs' if paths else 'drawn'}, {sum(map(len, images)):,} bytes")


def find_images(folder: str) -> list[Path]:
    """List the images to send: of a folder, or of `$CATDOG_SHARED/photos`; none if that doesn't exist.

    Raises:
        SystemExit: there are no images in `folder`.
    """
    shared = Path(os.environ.get("CATDOG_SHARED", "../shared")) / "photos"
    root = Path(folder) if folder else shared
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    if folder and not found:
        raise SystemExit(f"No JPEG, PNG or WebP files in --pictures {folder}")
    return random.Random(7).sample(found, min(len(found), MAX_IMAGES))


def draw(number: int) -> bytes:
    """Draw a head with two ears on noise, as a JPEG of a photograph's size."""
    chance = random.Random(number)
    image = Image.effect_noise((500, 375), 60).convert("RGB")
    pen = ImageDraw.Draw(image)
    x, y, radius = chance.randint(150, 350), chance.randint(150, 250), chance.randint(60, 110)
    fur = tuple(chance.randint(30, 220) for _ in range(3))
    for side in (-1, 1):
        tip = (x + side * radius, y - 1.7 * radius)
        pen.polygon([(x, y - 0.5 * radius), tip, (x + side * radius, y)], fill=fur)
    pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fur)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


class Visitor(FastHttpUser):
    """A user who predicts three times as often as each other task."""

    def wait_time(self) -> float:
        """Return the seconds until the next request."""
        options = self.environment.parsed_options
        return random.uniform(min(options.min_wait, options.max_wait), options.max_wait)

    @tag("predict")
    @task(3)
    def predict(self) -> None:
        """Predict an image; a response without a class is a failure too."""
        form = random.choice(forms)
        headers = {"Content-Type": form.content_type}
        with self.client.post("/api/predict", data=form.body, headers=headers, catch_response=True) as response:
            if response.status_code == 200 and "class" not in response.json():
                response.failure(f"a response without a class: {response.text[:200]}")

    @task
    def model_status(self) -> None:
        """Request the model status."""
        self.client.get("/api/model/status")

    @task
    def stats(self) -> None:
        """Request the statistics."""
        self.client.get("/api/stats")

    @task
    def health(self) -> None:
        """Request the health check."""
        self.client.get("/api/health")

    @task
    def retrain_status(self) -> None:
        """Request the retraining status."""
        self.client.get("/api/retrain/status")

    @task
    def home(self) -> None:
        """Open the page."""
        self.client.get("/")
