"""Run by Alembic: applies the revisions inside the transaction that `db.schema.version` holds."""

from alembic import context

from db.schema import output_models, sum_models, workflow_models  # noqa: F401 - its tables belong to the metadata
from db.schema.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
