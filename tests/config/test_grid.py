import json

import pytest

from recbole_aia import AIAConfig
from recbole_aia.config.grid import Grid
from recbole_aia.config.recipes import recipe, recipes, recipes_text
from recbole_aia.errors import ConfigValueError
from recbole_aia.trainer import trainer_class

SMALL = {"models": ["BPR", "NeuMF"], "methods": {"a": {"defense": "none"}, "b": {"defense": "raid"}}, "seeds": [1, 2]}


def grid(**values):
    return Grid.of({**SMALL, **values}, "small.yaml")


class TestCells:
    def test_there_is_one_for_each_seed_model_and_method_seed_by_seed(self):
        cells = grid().cells()
        assert len(cells) == 8
        assert [cell.seed for cell in cells] == [1] * 4 + [2] * 4
        assert {cell.settings["defense"] for cell in cells} == {"none", "raid"}

    def test_attributes_are_protected_apart_or_together(self):
        apart = grid(attributes=["gender", "age"]).cells()
        together = grid(attributes=[["gender", "age"]]).cells()
        assert {cell.attributes for cell in apart} == {("gender",), ("age",)}
        assert {tuple(cell.settings["attributes"]) for cell in together} == {("gender", "age")}
        assert len(apart) == 2 * len(together)

    def test_the_more_particular_setting_wins(self):
        found = grid(
            settings={"epochs": 1, "learning_rate": 1},
            dataset_settings={"ml-100k": {"epochs": 2}},
            model_settings={"NeuMF": {"epochs": 3}},
            methods={"a": {"defense": "none"}, "b": {"defense": "none", "epochs": 4}},
        ).cells()
        epochs = {(cell.model, cell.method): cell.settings["epochs"] for cell in found}
        assert epochs == {("BPR", "a"): 2, ("BPR", "b"): 4, ("NeuMF", "a"): 3, ("NeuMF", "b"): 4}
        assert all(cell.settings["learning_rate"] == 1 for cell in found)

    def test_what_a_defense_does_not_read_is_not_varied_for_it(self):
        lines = grid(vary={"raid_eta": [0.4, 0.8], "embedding_size": [8]}).lines()
        assert lines == ["a embedding_size=8", "b raid_eta=0.4 embedding_size=8", "b raid_eta=0.8 embedding_size=8"]

    def test_what_a_method_gives_itself_is_not_varied_for_it(self):
        methods = {"a": {"defense": "raid", "raid_eta": 1}, "b": {"defense": "raid"}}
        assert grid(methods=methods, vary={"raid_eta": [2, 3]}).lines() == ["a", "b raid_eta=2", "b raid_eta=3"]

    def test_a_method_may_work_on_some_models_only(self):
        methods = {"a": {"defense": "dp", "only_models": ["BPR"], "published": "DP-PoT"}}
        found = grid(methods=methods)
        assert {cell.model for cell in found.cells()} == {"BPR"}
        assert "only_models" not in found.cells()[0].settings
        assert found.published("a") == {"method": "DP-PoT"}
        assert found.published("b") == {"method": ""}

    def test_a_methods_printed_numbers_may_stand_in_another_place(self):
        found = grid(methods={"a": {"defense": "raid", "published": {"method": "RAID", "setting": "xi=1"}}})
        assert found.published("a") == {"method": "RAID", "setting": "xi=1"}

    def test_further_keys_win_and_methods_can_be_picked(self):
        narrowed = grid().narrowed(["b"], {"epochs": 7})
        assert narrowed.lines() == ["b"]
        assert narrowed.cells()[0].settings["epochs"] == 7


class TestLike:
    @pytest.fixture
    def place(self, tmp_path):
        (tmp_path / "base.yaml").write_text(
            "models: [BPR]\nseeds: [3]\nsettings: {epochs: 2, topk: [5]}\n"
            "methods: {a: {defense: none}, b: {defense: raid}}\n",
            encoding="utf-8",
        )
        return tmp_path / "mine.yaml"

    def test_what_a_file_does_not_give_is_the_other_grids(self, place):
        place.write_text("like: base\nsettings: {epochs: 7}\nmethods: [b]\nmodels: [DMF]\n", encoding="utf-8")
        found = Grid.read(place)
        assert (found.name, found.models, found.seeds, found.lines()) == ("mine", ("DMF",), (3,), ["b"])
        assert found.settings == {"epochs": 7, "topk": [5]}

    def test_a_recipe_can_be_the_other_grid(self, place):
        place.write_text("like: raid-table2\nmethods: [undefended]\n", encoding="utf-8")
        assert Grid.read(place).models == ("DMF", "NeuMF", "LightGCN")

    def test_the_other_grid_may_list_defenses_and_a_copy_may_keep_a_recipes_name(self, place):
        (place.parent / "base.yaml").write_text("models: [BPR]\nmethods: [none, raid]\nsettings:\n", encoding="utf-8")
        place.write_text("like: base\nmethods: [raid]\n", encoding="utf-8")
        assert Grid.read(place).methods == {"raid": {"defense": "raid"}}
        copy = place.with_name("raid-table3.yaml")
        copy.write_text("like: raid-table3\nseeds: [1]\n", encoding="utf-8")
        assert Grid.read(copy).seeds == (1,)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("like: base\nmethods: [c]", "picks 'c', and 'base' has no such line"),
            ("like: nowhere", "nowhere"),
            ("like: mine", "is like 'mine'"),
            ("like: base\nsettings: [1]", "settings that are no mapping"),
        ],
    )
    def test_a_mistake_is_refused(self, place, text, message):
        place.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigValueError, match=message):
            Grid.read(place)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": ["BPR"]}, "has the key 'model', which a grid does not have. Did you mean models"),
        ({"models": []}, "names no models"),
        ({"methods": {"a": "raid"}}, "has 'raid' as methods.a. It must be a mapping"),
        ({"seeds": [1.5]}, "as seeds. It must be a list of whole numbers"),
        ({"vary": {"raid_eta": []}}, "as vary.raid_eta. It must be a list of at least one value"),
        ({"model_settings": {"BPR": 3}}, "as model_settings.BPR"),
    ],
)
def test_a_wrong_grid_is_refused_with_the_place(values, message):
    with pytest.raises(ConfigValueError, match=message):
        grid(**values)


def test_a_method_that_the_grid_lacks_is_refused():
    with pytest.raises(ConfigValueError, match="no method 'c'"):
        grid().narrowed(["c"], {})


class TestRecipes:
    @pytest.mark.parametrize("name", recipes())
    def test_each_says_what_it_needs_and_names_methods_that_exist(self, name):
        found = Grid.read(recipe(name))
        assert found.title
        assert found.note
        assert found.cells()

    def test_all_are_listed(self):
        said = "\n" + recipes_text()
        assert all(f"\n{name}: " in said for name in recipes())

    def test_every_line_is_a_run_that_can_be_configured(self):
        cells = [cell for path in recipes().values() for cell in Grid.read(path).cells() if cell.seed == 2020]
        for settings in {json.dumps(cell.settings): cell.settings for cell in cells}.values():
            config = AIAConfig(config_dict={"state": "warning", **settings}, argv=[])
            trainer_class(config)

    def test_an_unknown_one_is_refused_with_a_hint(self):
        with pytest.raises(ConfigValueError, match=r"no recipe 'raid-tabel3'\. Did you mean raid-table3"):
            recipe("raid-tabel3")
