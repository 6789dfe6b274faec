"""Atomic files of a dataset, and settings that do not fit them."""

from bad_rows.making import ACCEPTED, INTER, USER, edited, line, put, run, split, swapped

HEADER = "user_id:token\titem_id:token\ttimestamp:float"
SAMPLED = "order: RO, group_by: user, mode: uni5"
LS, RO = "{LS: valid_and_test}", "order: RO, group_by: user, mode: full"


def header(text):
    return line(INTER, 1, text)


def recoded(path, encoding):
    return edited(path, lambda lines: lines, encoding)


def commas(path):
    return edited(path, lambda lines: [each.replace("\t", ",") for each in lines])


def each_once(lines):
    """One interaction a user."""
    seen = {each.partition("\t")[0]: each for each in lines[1:]}
    return [lines[0], *seen.values()]


def one_item(lines):
    return [lines[0], *("\t".join([each.split("\t")[0], "i", each.split("\t")[2]]) for each in lines[1:])]


def everything(lines):
    """The first user has interacted with all items."""
    items = sorted({each.split("\t")[1] for each in lines[1:]})
    first = lines[1].split("\t")[0]
    rest = [each for each in lines[1:] if each.split("\t")[0] != first]
    return [lines[0], *(f"{first}\t{item}\t{k}" for k, item in enumerate(items)), *rest]


def three_items(lines):
    """A dataset of three items and of users who have them all twice."""
    users = sorted({each.split("\t")[0] for each in lines[1:]})
    return [lines[0], *(f"{user}\ti{k % 3}\t{k}" for user in users for k in range(6))]


def spaced(lines):
    return [*lines[:5], *(f"{each.split(chr(9))[0]} \t" + each.partition("\t")[2] for each in lines[5:9]), *lines[9:]]


def users(text):
    """Every user line gets this value."""
    return edited(
        USER, lambda lines: [lines[0], *(f"{each.split(chr(9))[0]}\t{text(k)}" for k, each in enumerate(lines[1:]))]
    )


def no_time(lines):
    return ["\t".join(each.split("\t")[:2]) for each in lines]


def rated(lines):
    """With a rating of 1 to 5."""
    return [lines[0] + "\trating:float", *(f"{each}\t{k % 5 + 1}" for k, each in enumerate(lines[1:]))]


def mine(n_classes):
    """Users of their own classes, five each."""

    def make():
        put(USER, "user_id:token\tgroup:token\n" + "".join(f"u{k}\tc{k % n_classes}\n" for k in range(5 * n_classes)))
        pairs = (f"u{k}\ti{(k + j) % 50}\t{j}\n" for k in range(5 * n_classes) for j in range(3))
        put(INTER, f"{HEADER}\n" + "".join(pairs))

    return make


ALL = "--attribute_specs={group: {field: group}}"
ROWS = [
    # interactions
    run("the validation part of synthetic is empty", make=edited(INTER, each_once), case="data 1 interaction each"),
    run(
        "has 150 lines (the first: line 2) with no 'user_id'",
        make=edited(
            INTER, lambda lines: [lines[0], *("\t" + each.partition("\t")[2] for each in lines[1:151]), *lines[151:]]
        ),
        case="data inter empty ids",
    ),
    run("(the first: line 5) with no 'item_id'", make=line(INTER, 5, "1\t\t3"), case="data inter an empty item"),
    run(
        "(NA, nan, null and None count as missing)", make=line(INTER, 5, "NA\t5\t3"), case="data inter a user called NA"
    ),
    run("whose 'user_id' differ in blanks only", make=edited(INTER, spaced), case="data inter ids with spaces"),
    run("line 7) with an infinite 'timestamp'", make=line(INTER, 7, "1\t5\tinf"), case="data inter inf timestamp"),
    run("line 7) with no 'timestamp'", make=line(INTER, 7, "1\t5\tnan"), case="data inter nan timestamp"),
    run("line 7) with no 'timestamp'", make=line(INTER, 7, "1\t5\t"), case="data inter empty timestamp"),
    run(
        "line 9 of 'dataset/synthetic/synthetic.inter' has 5 columns, and the header has 3",
        make=line(INTER, 9, "1\t5\t3\t4\t5"),
        case="data inter ragged long",
    ),
    run(
        "line 9 of 'dataset/synthetic/synthetic.inter' has 2 columns",
        make=line(INTER, 9, "1\t5"),
        case="data inter ragged short",
    ),
    run("has 1 columns", make=line(INTER, 9, "what"), case="data inter a line of another kind"),
    run(
        "declares 'item_id' as token_seq. Write item_id:token",
        make=header("user_id:token\titem_id:token_seq\ttimestamp:float"),
        case="data inter seq type",
    ),
    run(
        "declares 'user_id' as float. Write user_id:token",
        make=header("user_id:float\titem_id:token\ttimestamp:float"),
        case="data inter user_id:float",
    ),
    run(
        "declares the times 'timestamp' as token",
        make=header("user_id:token\titem_id:token\ttimestamp:token"),
        case="data inter timestamp:token",
    ),
    run(
        "has 'user'. Write each column as name:type",
        make=header("user\titem\ttimestamp"),
        case="data inter wrong header",
    ),
    run(
        "types are token, token_seq",
        make=header("user_id:token\titem_id:word\ttimestamp:float"),
        case="data inter unknown type",
    ),
    run(
        "types are token, token_seq",
        make=header("user_id:token:x\titem_id:token\ttimestamp:float"),
        case="data inter two colons",
    ),
    run("types are token, token_seq", make=header(":token\titem_id:token\ttimestamp:float"), case="data inter no name"),
    run(
        "has no column 'user_id', only who, item_id",
        make=header("who:token\titem_id:token\ttimestamp:float"),
        case="data inter another user column",
    ),
    run(
        "has no column 'item_id'",
        make=header("user_id:token\twhat:token\ttimestamp:float"),
        case="data inter another item column",
    ),
    run(
        "has the column 'user_id' twice",
        make=header("user_id:token\tuser_id:token\ttimestamp:float"),
        case="data inter a column twice",
    ),
    run(
        "has no 'timestamp', which is needed by eval_args", make=edited(INTER, no_time), case="data inter without times"
    ),
    run(split(LS), ACCEPTED, make=edited(INTER, no_time), case="data inter without times, order RO"),
    run("separates its columns by commas, and tabs are expected", make=commas(INTER), case="data inter with commas"),
    run("separates its columns by commas", make=commas(USER), case="data user with commas"),
    run("--field_separator=;", "separates its columns by tabs", case="data another separator"),
    run("is empty. Write a header", make=lambda: put(INTER, ""), case="data inter empty"),
    run("no interaction is left", make=edited(INTER, lambda lines: lines[:1]), case="data inter header only"),
    run(
        "line 5 of 'dataset/synthetic/synthetic.inter' holds a NUL",
        make=line(INTER, 5, "1\0\t5\t3"),
        case="data nul byte in inter",
    ),
    run(
        "line 5 of 'dataset/synthetic/synthetic.user' holds a NUL",
        make=line(USER, 5, "4\0\ta"),
        case="data nul byte in user",
    ),
    run(
        "line 5 of 'dataset/synthetic/synthetic.inter' begins a value with a quote",
        make=line(INTER, 5, '"1\t5\t3'),
        case="data inter a leading quote",
    ),
    run(ACCEPTED, make=line(INTER, 5, 'the "5" six\t5\t3'), case="data inter quotes inside an id"),
    run("begins a value with a quote", make=line(INTER, 5, '"AC" DC\t5\t3'), case="data inter a quoted beginning"),
    run("begins a value with a quote", make=line(USER, 5, '4\t"a'), case="data user a leading quote"),
    run(
        "line 5 of 'dataset/synthetic/synthetic.inter' has 'soon' as 'timestamp'",
        make=line(INTER, 5, "1\t5\tsoon"),
        case="data inter a text as time",
    ),
    run(
        "it is not utf-8 text (line 5). Save it as UTF-8, or set its encoding",
        make=lambda: put(
            INTER,
            INTER.read_bytes()
            .replace(b"\n", b"\n", 1)
            .replace(INTER.read_bytes().splitlines()[4], "女性\t5\t3".encode("gbk")),
        ),
        case="data inter gbk",
    ),
    run("--encoding=ascii", "it is not ascii text", make=line(INTER, 5, "é\t5\t3"), case="data inter not ascii"),
    run(ACCEPTED, make=recoded(INTER, "utf-8-sig"), case="data inter with a byte order mark"),
    run(ACCEPTED, make=recoded(USER, "utf-8-sig"), case="data user with a byte order mark"),
    run(ACCEPTED, make=recoded(INTER, "utf-16"), case="data inter utf-16"),
    run("--encoding=latin-1", ACCEPTED, make=swapped(USER, "x", "é"), case="data latin-1"),
    run("synthetic has 1 item, so there is nothing to recommend", make=edited(INTER, one_item), case="data one item"),
    run(ACCEPTED, make=edited(INTER, everything), case="data a user who has all items"),
    run(
        split(LS, SAMPLED),
        "some users of synthetic (1) have interacted with all 80 items",
        make=edited(INTER, everything),
        case="data a user who has all items, sampled evaluation",
    ),
    run(
        "--topk=[2]",
        "--valid_metric=NDCG@2",
        "all users of synthetic have interacted with all 3 items",
        make=edited(INTER, three_items),
        case="data all users have all items",
    ),
    run("the dataset 'synthetic' is not there", make=INTER.unlink, case="data no inter"),
    run("there is no file 'dataset/synthetic/synthetic.user'", make=USER.unlink, case="data no user"),
    run("--dataset=nothing", "the dataset 'nothing' is not there"),
    run("--data_path=nowhere", "the dataset 'synthetic' is not there"),
    run("--benchmark_filename=[a,b,c]", "there is no file 'dataset/synthetic/synthetic.a.inter'"),
    run("--benchmark_filename=[a,a,c]", "three different suffixes"),
    run("--benchmark_filename=[a,b]", "three different suffixes"),
    # users
    run(
        ACCEPTED,
        make=edited(USER, lambda lines: [*lines[:-1], lines[-1].split("\t")[0] + "\tc"]),
        case="data class of one user",
    ),
    run(ALL, "nothing is left to tell apart", make=users(lambda k: "a"), case="data one class"),
    run("Are columns swapped?", make=users(lambda k: k), case="data no value is a class"),
    run(
        split(LS),
        "line 2 of 'dataset/synthetic/synthetic.inter' has 3 columns",
        make=header("user_id:token\titem_id:token"),
        case="data a header a column short",
    ),
    run(
        "line 4 of 'dataset/synthetic/synthetic.user' has 3 columns",
        make=line(USER, 4, "3\ta\tb"),
        case="data user ragged long",
    ),
    run(
        "line 4 of 'dataset/synthetic/synthetic.user' has 1 columns",
        make=line(USER, 4, "3"),
        case="data user ragged short",
    ),
    run("is empty. Write a header", make=lambda: put(USER, ""), case="data user empty"),
    run("has no column 'user_id'", make=line(USER, 1, "who:token\tgroup:token"), case="data user another user column"),
    run(ACCEPTED, make=line(USER, 1, "user_id\tgroup"), case="data user without types"),
    run(
        "is not what 'recbole-aia prepare' wrote",
        make=lambda: put("dataset/synthetic/synthetic.prepared.json", "[" * 100_000),
        case="data prepared.json deep",
    ),
    run(
        "is not what 'recbole-aia prepare' wrote",
        make=lambda: put("dataset/synthetic/synthetic.prepared.json", "{}"),
        case="data prepared.json empty",
    ),
    run(
        "is not what 'recbole-aia prepare' wrote",
        make=lambda: put("dataset/synthetic/synthetic.prepared.json", '{"conflicts": {"a": 1}, "raw": {}}'),
        case="data prepared.json of another form",
    ),
    run(ALL, split(LS), "has 10000 classes, and at most 500", make=mine(10_000), case="mine 10000 classes of 5"),
    # columns
    run("--load_col={inter: [user_id]}", "hide 'item_id'"),
    run("--load_col={inter: [item_id]}", "hide 'user_id'"),
    run("--load_col={inter: [user_id, item_id]}", ACCEPTED),
    run("--load_col=~", ACCEPTED),
    run("--load_col={inter: '*'}", ACCEPTED),
    run("--load_col=~", "--unload_col={inter: [timestamp]}", "unload_col hides 'timestamp'"),
    run("--load_col=~", "--unload_col={inter: [user_id]}", "hide 'user_id'"),
    run("--load_col=~", "--unload_col={inter: [timestamp]}", split(LS), ACCEPTED),
    run("--threshold={rating: 3}", "has no 'rating', which is needed by threshold"),
    run("--threshold={rating: 3}", ACCEPTED, make=edited(INTER, rated), case="threshold"),
    run(
        "--threshold={rating: 3}",
        split("{RS: [8,1,1]}", "order: RO, group_by: user, mode: labeled"),
        "--metrics=[AUC,LogLoss]",
        "--valid_metric=AUC",
        "--model=NeuMF",
        ACCEPTED,
        make=edited(INTER, rated),
        case="threshold and metrics of labels",
    ),
    run(
        split(LS, "order: RO, group_by: user, mode: labeled"),
        "--metrics=[AUC,LogLoss]",
        "--valid_metric=AUC",
        "has no 'label', which is needed by eval_args.mode labeled",
    ),
    run(
        "--train_neg_sample_args=~",
        "--threshold={rating: 3}",
        "--model=NeuMF",
        ACCEPTED,
        make=edited(INTER, rated),
        case="no negatives",
    ),
    # filters
    run("--user_inter_num_interval=[1000,inf)", "no interaction is left after filtering"),
    run("--val_interval={timestamp: '[1e17,inf)'}", "no interaction is left after filtering"),
    run("--val_interval={nothing: '[0,1]'}", "Field [nothing] not defined"),
    run("--topk=[100]", "--valid_metric=NDCG@100", "topk is [100], and synthetic has 80 items"),
    run(split("{TS: [0.8,0.1,0.1]}", "order: TO, group_by: user, mode: full"), ACCEPTED),
]
