"""Build the API from its services, routes, protocols, error handlers and documentation."""

import os
from dataclasses import replace
from functools import cache, partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, request
from flask_openapi3 import Info, OpenAPI
from flask_openapi3_swagger.plugins import RegisterPlugin

from api.access.callers import find_viewer
from api.access.gate import Gate, KeyGate, ProxyRule
from api.access.identity_provider import IdentityProvider, ProviderSettings
from api.access.needs import admit, is_open
from api.access.owners import Owners
from api.access.sign_ins import SignInLimiter
from api.charts.cache import PictureCache
from api.charts.dataset_rows import OpenDatasets
from api.charts.evaluation_tiles import TestImageCache
from api.collectors import DiskCollector, JobCollector, MemoryCollector
from api.compression import finish_response
from api.documents.base import JobProblem, Problem
from api.documents.jobs import write_change
from api.http import problems
from api.http.bodies import YAML_TYPES
from api.http.openapi import complete_document, describe_keys, list_views
from api.http.reading.body_reader import BodyReader
from api.http.reading.document_reader import CONFIG_KEY, DocumentReader
from api.http.requests import check_encoding, check_url
from api.http.uploads import UploadRequest
from api.http.wsgi.cross_site import HTTPS_ONLY, NO_SNIFF, PAGE_HEADERS, SAFE_METHODS, Sites, check_sites
from api.http.wsgi.proxies import parse_networks, trust_proxies
from api.http.wsgi.request_ids import add_request_ids
from api.http.wsgi.request_log import log_requests
from api.http.wsgi.slow_clients import SlowClients, limit_clients
from api.ingestion.client import Ingestor
from api.ingestion.result import UploadLimits
from api.planner.client import Planner
from api.protocols import hugging_face, mlflow, open_inference, tf_serving
from api.protocols.descriptions import describe_foreign_paths
from api.protocols.fast_path import with_fast_path
from api.routes.access import audit, invitations, keys, projects, quotas, sessions, users
from api.routes.datasets import dataset_rows, datasets
from api.routes.jobs import batch_predictions, cross_validations, job_actions, job_changes, job_metrics, jobs, queue
from api.routes.models import (
    baselines,
    evaluations,
    exports,
    further_evaluations,
    imports,
    layers,
    models,
    predictions,
    prepared_inputs,
    reproductions,
    version_charts,
    weights,
)
from api.routes.service import catalog, health, me, metrics, problem_types, recipes, text, workers
from api.services import EXTENSION, Services, services
from api.serving.metrics import Metrics
from api.serving.model_cache import ModelCache
from api.serving.predictor import Predictor
from api.streaming.job_events import FeedLimits, JobFeeds
from api.web.site import answer_unrouted
from api.web.site import bp as pages
from shared.access.rights import Role
from shared.access.visibility import restrict
from shared.database.engine import Sessions, make_engine, make_sessions
from shared.jobs.broker import JobNotifier
from shared.preprocessing.decoding import ImageLimits
from shared.preprocessing.image_decoder import ImageDecoder
from shared.settings import Settings
from shared.spec.baselines import BaselineSpec
from shared.spec.batch_prediction import BatchSpec
from shared.spec.evaluation import EvaluationSpec
from shared.spec.export import ExportSpec
from shared.spec.model_import import ImportSpec
from shared.spec.training import TrainingSpec
from shared.storage.artifacts import ArtifactStore
from shared.storage.disk import DiskReserve
from shared.version import VERSION


def create_app(settings: Settings) -> Flask:
    """Build the API."""
    app = build_application()
    connect_services(app, settings)
    return app


def build_application() -> Flask:
    """Build the API without its services: its routes, error handlers and documentation."""
    app = OpenAPI(
        "api",
        info=Info(title="Trainyard", version=VERSION, description="Trains and serves small Keras networks."),
        security_schemes={},
        doc_ui=False,
        static_folder=None,
        validation_error_model=Problem,
    )
    app.request_class = UploadRequest
    app.config["SWAGGER_CONFIG"] = {"validatorUrl": None}  # no validator on the internet
    for routes in (
        jobs,
        cross_validations,
        job_actions,
        job_metrics,
        job_changes,
        queue,
        models,
        layers,
        evaluations,
        exports,
        further_evaluations,
        imports,
        baselines,
        version_charts,
        reproductions,
        weights,
        predictions,
        prepared_inputs,
        batch_predictions,
        datasets,
        dataset_rows,
        catalog,
        recipes,
        text,
        workers,
        me,
        keys,
        invitations,
        users,
        projects,
        quotas,
        sessions,
        audit,
        health,
        metrics,
        problem_types,
    ):
        app.register_api(routes.bp)
    app.register_blueprint(pages)
    for protocol in (tf_serving, open_inference, mlflow, hugging_face):
        app.register_blueprint(protocol.bp)
    app.before_request(_admit)
    app.before_request(check_url)
    app.before_request(check_encoding)
    app.after_request(finish_response)
    app.after_request(_add_security_headers)
    problems.register_handlers(app)
    for status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
        app.register_error_handler(status, answer_unrouted)
    _add_documentation(app)
    return app


def connect_services(app: Flask, settings: Settings, **replaced: object) -> None:
    """Give an application its services, which replace those that it has.

    `replaced` are fields of Services that are taken in place of those made from the settings.
    """
    made = replace(_build_services(settings), **replaced)  # type: ignore[arg-type]  # each field has its own type
    app.extensions[EXTENSION] = made
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    app.config[CONFIG_KEY] = made.reader
    inner = partial(Flask.wsgi_app, app)
    limited = limit_clients(inner, made.clients, problems.answer_service_error)
    application = with_fast_path(add_request_ids(limited), made)
    sites = Sites(settings.host, settings.hosts, settings.allowed_origins)
    checked = check_sites(application, sites)
    if networks := parse_networks(settings.trusted_proxies):
        checked = trust_proxies(checked, networks)
    app.wsgi_app = log_requests(checked) if settings.request_log else checked  # type: ignore[method-assign, assignment]  # as in Flask's docs


def _admit() -> None:
    admit(services().gate)


def _add_security_headers(response: Response) -> Response:
    if request.is_secure:
        response.headers.setdefault(*HTTPS_ONLY)
    for name, value in PAGE_HEADERS if request.method in SAFE_METHODS else (NO_SNIFF,):
        response.headers.setdefault(name, value)
    return response


def _build_services(settings: Settings) -> Services:
    artifacts = ArtifactStore(settings.artifacts_url)
    engine = make_engine(settings.database_url)
    database, restricted = make_sessions(engine), make_sessions(engine)  # what serves all callers, and what serves one
    restrict(restricted, find_viewer)
    model_cache = ModelCache(database, artifacts, settings.serving_memory_bytes)
    disk = DiskReserve(settings.data_dir, settings.reserved_disk_bytes)
    metrics = Metrics((MemoryCollector(model_cache), JobCollector(database), DiskCollector(disk)))
    limits = ImageLimits(settings.max_image_bytes, settings.max_image_pixels)
    decoder = ImageDecoder(
        limits, parallel_here=max(1, (os.cpu_count() or 1) - 1), max_waiting=max(2, settings.api_threads // 16)
    )
    return Services(
        sessions=restricted,
        artifacts=artifacts,
        notifier=JobNotifier(settings.redis_url),
        planner=Planner(
            settings.max_parameters, settings.max_dataset_bytes, max_waiting=max(2, settings.api_threads // 4)
        ),
        reader=DocumentReader(max_waiting=max(2, settings.api_threads // 16)),
        bodies=BodyReader(max_waiting=max(2, settings.api_threads // 16)),
        model_cache=model_cache,
        metrics=metrics,
        predictor=Predictor(
            decoder,
            settings.max_request_pixels,
            os.cpu_count() or 1,
            settings.max_waiting_predictions,
            settings.prediction_seconds,
            metrics,
        ),
        default_model=settings.default_model,
        max_request_bytes=settings.max_request_bytes,
        decoder=decoder,
        ingestor=Ingestor(
            UploadLimits(
                bytes=settings.max_dataset_bytes,
                files=settings.max_dataset_files,
                rows=settings.max_dataset_rows,
                pixels=settings.max_dataset_pixels,
                images=limits,
                reserved_bytes=settings.reserved_disk_bytes,
            )
        ),
        disk=disk,
        pictures=PictureCache(),
        test_images=TestImageCache(),
        datasets=OpenDatasets(artifacts),
        owners=Owners(
            settings.owner_header, settings.max_queued_per_owner, names_per_user=settings.model_names == "per-user"
        ),
        gate=_make_gate(settings, database),
        sign_ins=SignInLimiter(),
        identity_provider=_make_identity_provider(settings),
        clients=SlowClients(max_reads=settings.api_threads, max_sends=max(1, settings.api_threads // 4)),
        feeds=JobFeeds(database, FeedLimits(listeners=max(1, settings.api_threads // 2)), write_change),
    )


def _make_identity_provider(settings: Settings) -> IdentityProvider | None:
    if settings.oidc_issuer is None or settings.oidc_client_id is None:
        return None
    host = urlsplit(settings.oidc_issuer).netloc
    role = Role(settings.oidc_role) if settings.oidc_role is not None else None
    return IdentityProvider(
        ProviderSettings(
            settings.oidc_issuer,
            settings.oidc_client_id,
            settings.read_client_secret(),
            settings.oidc_name or host,
            role,
        )
    )


def _make_gate(settings: Settings, sessions: Sessions) -> Gate:
    if settings.auth not in ("keys", "proxy"):
        return Gate()
    rule = None
    if settings.auth == "proxy" and settings.owner_header is not None:
        rule = ProxyRule(settings.owner_header, Role(settings.proxy_role))
    watching = make_sessions(make_engine(settings.database_url, pool_size=1, max_overflow=0))
    return KeyGate(sessions, watching, rule)


def _add_documentation(app: OpenAPI) -> None:
    """Add /openapi.json, and /docs, which shows it with Swagger UI. Neither needs the internet."""

    @cache
    def make_document() -> dict[str, Any]:
        further = (TrainingSpec, BatchSpec, ExportSpec, BaselineSpec, ImportSpec, EvaluationSpec, JobProblem)
        document = complete_document(app.api_doc, list_views(app), further, describe_foreign_paths())
        return describe_keys(document, partial(is_open, app))

    submit = app.paths["/api/v1/jobs"].post.requestBody.content
    submit[YAML_TYPES[0]] = submit["application/json"]  # flask-openapi3 documents only JSON bodies
    app.register_blueprint(RegisterPlugin.register(doc_url="openapi.json"))
    app.add_url_rule("/docs", "docs", app.view_functions["swagger.swagger"])
    app.add_url_rule("/openapi.json", "openapi", make_document)
