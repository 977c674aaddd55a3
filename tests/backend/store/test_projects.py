"""Projects and their classes."""

from __future__ import annotations

import pytest

from recolabel.contract.projects import MAX_CLASSES, ClassPatch, NewLabelClass, NewProject, ProjectPatch
from recolabel.errors import ClassNameTaken, ClassNotFound, ProjectNameTaken, ProjectNotFound, TooManyClasses
from recolabel.store import Store
from recolabel.store.projects import COLOURS, choose_colour, choose_key
from tests.backend.store.street import Street, new_uuid


def test_a_project_is_found_by_its_name_in_any_case(street: Street) -> None:
    assert street.store.projects.by_name(" STREET ").project_id == street.project_id


def test_a_name_is_free_again_once_its_project_is_deleted(store: Store, street: Street) -> None:
    with pytest.raises(ProjectNameTaken):
        Street(store, name="street")

    store.projects.delete(street.project_id)
    other = Street(store, name="street")

    assert [project.project_id for project in store.projects.list()] == [other.project_id]
    with pytest.raises(ProjectNotFound):
        store.projects.get(street.project_id)


def test_a_project_is_not_renamed_to_a_name_that_is_taken(store: Store, street: Street) -> None:
    other = Street(store, name="Other")

    with pytest.raises(ProjectNameTaken):
        store.projects.patch(other.project_id, ProjectPatch(name="Street"))
    renamed = store.projects.patch(other.project_id, ProjectPatch(name="OTHER"))

    assert renamed.name == "OTHER"


def test_classes_get_colours_and_keys_that_differ(store: Store) -> None:
    new = NewProject(name="Many", classes=[NewLabelClass(name=f"car {number}") for number in range(30)])

    classes = store.projects.create(new).classes

    assert len({label_class.colour for label_class in classes}) == 30
    keys = [label_class.key for label_class in classes]
    assert keys[:4] == ["c", "a", "r", "b"]
    assert len(set(keys[:26])) == 26
    assert keys[26:] == 4 * [None]


def test_a_retired_class_keeps_its_place_and_its_name(street: Street) -> None:
    projects, project_id = street.store.projects, street.project_id

    projects.patch_class(project_id, street.road, ClassPatch(retired=True))
    tree = projects.add_class(project_id, NewLabelClass(name="tree"))

    assert [(c.name, c.position, c.retired) for c in projects.get(project_id).classes] == [
        ("road", 0, True),
        ("car", 1, False),
        ("tree", 2, False),
    ]
    with pytest.raises(ClassNameTaken):
        projects.add_class(project_id, NewLabelClass(name="Road"))
    with pytest.raises(ClassNameTaken):
        projects.patch_class(project_id, tree.class_uid, ClassPatch(name="ROAD"))


def test_a_key_moves_from_one_class_to_another(street: Street) -> None:
    projects = street.store.projects

    changed = projects.patch_class(street.project_id, street.road, ClassPatch(key="c", colour="#010203"))

    road, car = projects.get(street.project_id).classes
    assert changed == road
    assert (road.key, road.colour, car.key) == ("c", "#010203", None)


def test_a_class_of_another_project_is_not_found(store: Store, street: Street) -> None:
    other = Street(store, name="Other")

    with pytest.raises(ClassNotFound):
        store.projects.patch_class(street.project_id, other.road, ClassPatch(name="x"))
    with pytest.raises(ProjectNotFound):
        store.projects.patch_class(new_uuid(), other.road, ClassPatch(name="x"))


def test_only_classes_in_use_count_towards_the_limit(store: Store) -> None:
    names = [NewLabelClass(name=str(number)) for number in range(MAX_CLASSES)]
    project = store.projects.create(NewProject(name="Full", classes=names))
    first = project.classes[0].class_uid

    with pytest.raises(TooManyClasses):
        store.projects.add_class(project.project_id, NewLabelClass(name="one more"))
    store.projects.patch_class(project.project_id, first, ClassPatch(retired=True))
    store.projects.add_class(project.project_id, NewLabelClass(name="one more"))
    with pytest.raises(TooManyClasses):
        store.projects.patch_class(project.project_id, first, ClassPatch(retired=False))


def test_keys_and_colours_are_chosen_in_a_fixed_order() -> None:
    assert choose_key("Überhang", []) == "b"
    assert choose_key("天空", ["a"]) == "b"
    assert choose_colour([]) == COLOURS[0]
    assert choose_colour([COLOURS[0]]) == COLOURS[1]
