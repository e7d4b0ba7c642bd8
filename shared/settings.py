"""Define the settings: `TRAINYARD_…` in the environment or in a `.env` file."""

import ipaddress
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.devices import Device


def _make_sqlite_url(values: dict[str, Any]) -> str:
    return f"sqlite:///{values['data_dir']}/trainyard.db"


def _make_artifacts_url(values: dict[str, Any]) -> str:
    return f"file://{values['data_dir']}/artifacts"


def _add_psycopg(url: str) -> str:
    """Add the driver psycopg to a PostgreSQL URL that names no driver. SQLAlchemy uses psycopg2 otherwise."""
    scheme, separator, rest = url.partition("://")
    return f"postgresql+psycopg://{rest}" if separator and scheme in {"postgres", "postgresql"} else url


def _add_password(url: str, info: ValidationInfo) -> str:
    """Add the password of the file that `<service>_password_file` names to a URL without a password."""
    file: Path | None = info.data.get(f"{str(info.field_name).removesuffix('_url')}_password_file")
    scheme, separator, rest = url.partition("://")
    user, at, host = rest.partition("@")
    if file is None or not separator or (at and ":" in user):
        return url
    try:
        password = quote(file.read_text().strip(), safe="")
    except OSError as error:
        raise ValueError(f"the password cannot be read: {error}") from None
    return f"{scheme}://{user if at else ''}:{password}@{host if at else rest}"


Folder = Annotated[Path, AfterValidator(lambda path: path.expanduser().absolute())]


def _split(value: object) -> object:
    """Split names at commas, and remove spaces and empty names."""
    return [name.strip().lower() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


NameList = Annotated[frozenset[str], NoDecode, BeforeValidator(_split)]
"""Names separated by commas, in lower case."""


class Settings(BaseSettings):
    """The settings of a process, which docs/settings.md explains. Only entry points read them and pass values on."""

    model_config = SettingsConfigDict(
        env_prefix="TRAINYARD_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_default=True,
    )

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 8000
    hosts: NameList = frozenset()
    allowed_origins: NameList = frozenset()
    data_dir: Folder = Path("data")
    database_password_file: Path | None = None
    database_url: Annotated[str, AfterValidator(_add_psycopg), AfterValidator(_add_password)] = Field(
        default_factory=_make_sqlite_url
    )
    redis_password_file: Path | None = None
    redis_url: Annotated[str, AfterValidator(_add_password)] = "redis://127.0.0.1:6379/0"
    artifacts_url: str = Field(default_factory=_make_artifacts_url)
    datasets_dir: Folder = Path("~/.cache/trainyard/datasets")
    device: Device = Device.AUTO
    log_level: str = "INFO"
    request_log: bool = False
    alive_file: Path | None = None
    api_threads: Annotated[int, Field(ge=1)] = 256
    max_request_bytes: Annotated[int, Field(ge=1)] = 32 * 2**20
    max_image_bytes: Annotated[int, Field(ge=1)] = 10 * 2**20
    max_image_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    max_request_pixels: Annotated[int, Field(ge=1)] = 200_000_000
    max_dataset_bytes: Annotated[int, Field(ge=1)] = 16 * 2**30
    max_dataset_files: Annotated[int, Field(ge=1)] = 200_000
    max_dataset_rows: Annotated[int, Field(ge=1)] = 5_000_000
    max_dataset_pixels: Annotated[int, Field(ge=1)] = 100_000_000_000
    default_model: str | None = None
    serving_memory_bytes: Annotated[int, Field(ge=1)] = 512 * 2**20
    max_waiting_predictions: Annotated[int, Field(ge=0)] = 128
    prediction_seconds: Annotated[float, Field(gt=0)] = 10.0
    reserved_disk_bytes: Annotated[int, Field(ge=0)] = 2**30
    max_cache_bytes: Annotated[int, Field(ge=0)] = 20 * 2**30
    max_parameters: Annotated[int, Field(ge=1)] = 500_000_000
    worker_slots: Annotated[int, Field(ge=1, le=64)] = 1
    onednn: bool = True
    spare_memory_bytes: Annotated[int, Field(ge=0)] = 2 * 2**30
    lease_seconds: Annotated[float, Field(gt=0)] = 60.0
    progress_seconds: Annotated[float, Field(gt=0)] = 0.5
    reconcile_seconds: Annotated[float, Field(gt=0)] = 5.0
    max_attempts: Annotated[int, Field(ge=1)] = 3
    retry_seconds: Annotated[float, Field(ge=0)] = 10.0
    auth: Literal["off", "keys", "proxy"] | None = None
    proxy_role: Literal["viewer", "member", "maintainer"] = "member"
    model_names: Literal["shared", "per-user"] = "shared"
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret_file: Path | None = None
    oidc_name: str | None = None
    oidc_role: Literal["viewer", "member", "maintainer"] | None = None
    trusted_proxies: NameList = frozenset()
    published_on: str | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    owner_header: str | None = None
    max_queued_per_owner: Annotated[int, Field(ge=1)] = 10_000
    max_running_per_owner: Annotated[int | None, Field(ge=1)] = None
    retain_checkpoints_days: Annotated[float, Field(ge=0)] = 7.0
    retain_events_days: Annotated[float, Field(ge=0)] = 30.0
    retain_predictions_days: Annotated[float, Field(ge=0)] = 90.0
    sweep_after_seconds: Annotated[float, Field(gt=0)] = 3600.0

    @model_validator(mode="after")
    def _check_access(self) -> Self:
        for name in self.trusted_proxies:
            try:
                ipaddress.ip_network(name, strict=False)
            except ValueError:
                raise ValueError(
                    f"TRAINYARD_TRUSTED_PROXIES has {name!r}, which is no address and no network such as 10.0.0.0/8."
                ) from None
        if self.auth == "proxy" and not (self.trusted_proxies and self.owner_header):
            raise ValueError(
                "TRAINYARD_AUTH=proxy needs TRAINYARD_TRUSTED_PROXIES, the addresses of the proxy, and "
                "TRAINYARD_OWNER_HEADER, the header in which it names the user."
            )
        if self.oidc_issuer is not None:
            self._check_provider(self.oidc_issuer)
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("TRAINYARD_TLS_CERTIFICATE and TRAINYARD_TLS_KEY belong together. Set both or neither.")
        return self

    def _check_provider(self, issuer: str) -> None:
        address = urlsplit(issuer)
        if address.scheme != "https" and not (address.scheme == "http" and _is_loopback(address.hostname or "")):
            raise ValueError(
                f"TRAINYARD_OIDC_ISSUER must begin with https://, and is {issuer!r}. Only on this machine can a "
                "provider use http://."
            )
        if self.auth != "keys" or self.oidc_client_id is None:
            raise ValueError(
                "TRAINYARD_OIDC_ISSUER needs TRAINYARD_AUTH=keys and TRAINYARD_OIDC_CLIENT_ID, the id under which the "
                "provider knows this service."
            )

        try:
            self.read_client_secret()
        except OSError as error:
            raise ValueError(f"TRAINYARD_OIDC_CLIENT_SECRET_FILE cannot be read: {error}") from None

    def read_client_secret(self) -> str | None:
        """Read the secret of this service at the OpenID provider; None without one. Raises OSError."""
        return self.oidc_client_secret_file.read_text().strip() if self.oidc_client_secret_file is not None else None

    @property
    def scheme(self) -> str:
        """Return the scheme of the API's addresses: `https` with a certificate."""
        return "https" if self.tls_certificate is not None else "http"

    @property
    def is_open_to_others(self) -> bool:
        """Return whether other machines reach the API, and nobody chose whether people sign in."""
        return self.auth is None and not _is_loopback(self.published_on or self.host)

    @model_validator(mode="after")
    def _check_lease(self) -> Self:
        if self.lease_seconds < 4 * self.progress_seconds:
            raise ValueError(
                "TRAINYARD_LEASE_SECONDS must be at least 4 × TRAINYARD_PROGRESS_SECONDS. "
                "With a shorter lease, a worker that is alive can lose its job."
            )
        return self
