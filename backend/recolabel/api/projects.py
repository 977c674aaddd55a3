"""Projects and their classes."""

from __future__ import annotations

from fastapi import APIRouter

from recolabel.api.deps import ClassUid, ProjectId, StoreDep
from recolabel.contract.projects import ClassPatch, LabelClass, NewLabelClass, NewProject, Project, ProjectPatch

router = APIRouter(tags=["projects"])


@router.get("/projects")
def list_projects(store: StoreDep) -> list[Project]:
    """All projects, in order of creation."""
    return store.projects.list()


@router.post("/projects", status_code=201)
def create_project(new: NewProject, store: StoreDep) -> Project:
    """Make a project with its classes. Names differ, also from those of other projects."""
    return store.projects.create(new)


@router.get("/projects/{project_id}")
def get_project(project_id: ProjectId, store: StoreDep) -> Project:
    """One project."""
    return store.projects.get(project_id)


@router.patch("/projects/{project_id}")
def change_project(project_id: ProjectId, patch: ProjectPatch, store: StoreDep) -> Project:
    """Change name or settings; what is left out stays."""
    return store.projects.patch(project_id, patch)


@router.delete("/projects/{project_id}", status_code=204)
def delete_project(project_id: ProjectId, store: StoreDep) -> None:
    """Put a project away. It is not shown any more; its log stays on disk."""
    store.projects.delete(project_id)


@router.get("/projects/{project_id}/class-counts")
def count_labels_by_class(project_id: ProjectId, store: StoreDep) -> dict[str, int]:
    """How many labels hold for each class_uid, and for `void`; what is not named has none."""
    return store.labels.class_counts(project_id)


@router.post("/projects/{project_id}/classes", status_code=201)
def add_class(project_id: ProjectId, new: NewLabelClass, store: StoreDep) -> LabelClass:
    """Add a class at the end of the list."""
    return store.projects.add_class(project_id, new)


@router.patch("/projects/{project_id}/classes/{class_uid}")
def change_class(project_id: ProjectId, class_uid: ClassUid, patch: ClassPatch, store: StoreDep) -> LabelClass:
    """Rename, recolour, retire or bring back a class; what is left out stays."""
    return store.projects.patch_class(project_id, class_uid, patch)
