"""Upload data sets over HTTP."""

import io
from typing import Any

from flask.testing import FlaskClient

TABLE = "width,height,kind\n" + "\n".join(f"{n % 7},{n % 5},{'wide' if n % 7 > n % 5 else 'high'}" for n in range(70))


def upload_dataset(http: FlaskClient, content: bytes, name: str = "colors", **fields: Any) -> Any:
    return http.post("/api/v1/datasets", data={"name": name, "file": (io.BytesIO(content), "upload_dataset"), **fields})
