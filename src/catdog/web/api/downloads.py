"""Downloads: thumbnails of training images, and versions."""

import tempfile

from apiflask import APIBlueprint
from apiflask.schemas import FileSchema
from flask import Response, send_file

from catdog.data.images.pixels import encode_thumbnail
from catdog.prediction.similar import training_picture
from catdog.registry.packing import pack
from catdog.web.schemas import KEYS, THUMBNAIL, problems
from catdog.web.security.permissions import needs_permission
from catdog.web.service import live_model

downloads = APIBlueprint("downloads", __name__, tag="API", url_prefix="/api")


@downloads.get("/pictures/<sha256>")
@downloads.doc(responses=problems(401, 403, 404, 422, 503), security=KEYS)
@downloads.output(THUMBNAIL, content_type="image/jpeg")
@needs_permission
def training_image(sha256: str) -> Response:
    """Return a training image of the model in use as a JPEG of at most 320 by 320 pixels."""
    predictor = live_model().predictor
    data = training_picture(predictor, sha256)
    return Response(encode_thumbnail(data, predictor.limits), content_type="image/jpeg")


@downloads.get("/models/<int:version>/download")
@downloads.doc(responses=problems(401, 403, 404, 409), security=KEYS)
@downloads.output(FileSchema(), content_type="application/zip")
@needs_permission
def version(version: int) -> Response:
    """Return a version and its backbone as a zip, to be unpacked into another installation's `models` folder."""
    found = live_model().store.get(version)
    archive = tempfile.TemporaryFile()  # noqa: SIM115  # closed by the response once it is sent
    try:
        pack(found, archive)
        archive.seek(0)
        return send_file(archive, "application/zip", as_attachment=True, download_name=f"catdog-version-{version}.zip")
    except BaseException:
        archive.close()
        raise
