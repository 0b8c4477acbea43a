"""RRDs that hypothesis makes up, as specifications for `build`."""

from hypothesis import strategies as st

from tests.formats.rrd.build import Cnt, Ds, Raw, Rra, Spec, Unival

U32 = st.integers(0, 2**32 - 1)
BITS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.sampled_from([0, 1 << 63, 0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000000, 1]),
)
RAW = BITS.map(Raw)
CNT = U32.map(Cnt)
NAMES = st.text("abcXYZ019_-", min_size=1, max_size=19).filter(lambda name: name.strip("-019"))
READINGS = st.text("0123456789.U-", min_size=1, max_size=29)
CFS = (
    *("AVERAGE", "MIN", "MAX", "LAST", "HWPREDICT", "MHWPREDICT", "SEASONAL", "DEVSEASONAL"),
    *("DEVPREDICT", "FAILURES"),
)


def univals(counters: tuple[int, ...]) -> st.SearchStrategy[tuple[Unival, ...]]:
    return st.tuples(*(CNT if index in counters else RAW for index in range(10)))


@st.composite
def sources(draw: st.DrawFn, name: str, count: int) -> Ds:
    kind = draw(
        st.sampled_from(
            ["GAUGE", "COUNTER", "DERIVE", "ABSOLUTE", "DCOUNTER", "DDERIVE", "COMPUTE"]
        )
    )
    last, scratch = draw(READINGS), draw(univals((0,)))
    if kind != "COMPUTE":
        return Ds(name, kind, draw(univals((0,))), (), last, scratch)
    variable = st.tuples(st.just(1), st.integers(0, count - 1))
    number = st.tuples(st.just(0), st.integers(-(2**15), 2**15 - 1))
    operator = st.tuples(st.sampled_from([8, 9, 10, 11, 12, 31, 51, 69]), st.just(0))
    nodes = draw(st.lists(st.one_of(variable, number, operator), min_size=1, max_size=19))
    return Ds(name, kind, (), (*nodes, (32, 0)), last, scratch)


@st.composite
def archives(draw: st.DrawFn, ds_count: int, rra_count: int) -> Rra:
    cf = draw(st.sampled_from(CFS))
    rows, pdp = draw(st.integers(1, 5)), draw(st.integers(1, 1000))
    par: list[Unival] = list(draw(univals(())))
    cdp_counters: tuple[int, ...] = (1,)
    history = b""
    if cf not in ("AVERAGE", "MIN", "MAX", "LAST"):
        par[3] = Cnt(draw(st.integers(0, rra_count - 1)))
    if cf in ("HWPREDICT", "MHWPREDICT", "SEASONAL", "DEVSEASONAL"):
        par[4] = draw(CNT)
        cdp_counters = (1, 6, 7) if "PREDICT" in cf else (1, 6)
    if cf == "FAILURES":
        window = draw(st.integers(0, 28))
        par[4], par[5] = Cnt(window), draw(CNT)
        flags = draw(st.lists(st.integers(0, 1), min_size=window, max_size=window))
        history = bytes(flags) + draw(st.binary(min_size=64 - window, max_size=64 - window))
        cdp_counters = ()
    cdp = draw(st.tuples(*(univals(cdp_counters) for _ in range(ds_count))))
    current = draw(st.integers(0, rows - 1))
    return Rra(cf, rows, pdp, tuple(par), cdp, history, current)


@st.composite
def specs(draw: st.DrawFn, versions: tuple[int, ...] = (1, 2, 3, 4, 5)) -> Spec:
    version = draw(st.sampled_from(versions))
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    ds = tuple(draw(sources(name, len(names))) for name in names)
    rra_count = draw(st.integers(1, 4))
    rra = tuple(draw(archives(len(ds), rra_count)) for _ in range(rra_count))
    spec = Spec(
        version,
        draw(st.integers(1, 2**32 - 1)),
        ds,
        rra,
        draw(st.integers(0, 2**31 - 1)),
        draw(st.integers(0, 999_999)) if version >= 3 else 0,
        draw(st.one_of(st.just(()), univals(()))),
    )
    count = spec.value_count
    values = draw(st.lists(BITS, min_size=count, max_size=count))
    return Spec(**{**vars(spec), "values": tuple(values)})
