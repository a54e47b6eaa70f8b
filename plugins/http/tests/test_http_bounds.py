"""What a template may take: a mistake in it costs neither the machine's memory nor its time, whatever it looks like."""

import time
import tracemalloc
from contextlib import suppress

import pytest
from glycanbridge_http.bodies import values
from glycanbridge_http.limits import LARGEST_TEXT, MOST_CPU_S, MOST_MADE, MOST_STEPS
from glycanbridge_http.samples import sample
from glycanbridge_http.templates import Template, TemplateFault, as_text, in_json

from glycanbridge import Personal

MOST_MB = 40
"""Far more than a text of a million characters costs."""
TEN = "{% set s = 'aaaaaaaaaa' %}"
SLOW = "range(100000) | map('round') | map('string') | map('title') | sort | unique | list"
LARGE = TEN + "{% set s = s ~ s %}" * 16


def fault(source):
    """Why a template fails for a report."""
    with pytest.raises(TemplateFault) as raised:
        Template(source, escape=in_json).render(values(*sample("report-ready"), Personal.FULL))
    return raised.value


def peak_mb(source):
    """The megabytes that a template takes until it is refused."""
    tracemalloc.start()
    try:
        fault(source)
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "source",
    [
        TEN + "{% set s = s ~ s %}" * 24,
        TEN + "{% set s = s + s %}" * 24,
        TEN + "{% set s = s | replace('a', s) %}" * 2 + "{% set t = s | replace('a', s) %}" * 9,
        TEN + "{% set s = s.replace('a', s) %}" * 2 + "{% set t = s.replace('a', s) %}" * 9,
        "{% if range(1000) | join(range(50000) | join) %}{% endif %}",
        "{% set s = [1] %}" + "{% set s = [s, s] %}" * 40 + "{{ s }}",
        "{% set s = (1,) %}" + "{% set s = (s, s) %}" * 40 + "{{ s | string }}",
        "{% set s = [1] %}" + "{% set s = {1: s, 2: s} %}" * 40 + "{{ s | tojson }}",
        "{% set s = [1] %}" + "{% set s = s + s %}" * 40,
        LARGE + "".join(f"{{% set s{number} = s[1:] %}}" for number in range(150)),
        LARGE + "".join(f"{{% set s{number} = s | upper %}}" for number in range(150)),
        LARGE + "{% set l = [s] %}" + "".join(f"{{% set s{number} = l | map('lower') %}}" for number in range(150)),
        "{% if event.timestamp.strftime('%c' * 9) %}{% endif %}",
        TEN + "{% set s = s ~ s %}" * 6 + "{% if event.timestamp.strftime(s) %}{% endif %}",
        "{% if 1.5 | round(100000000, 'ceil') %}{% endif %}",
        "{% if 1 | round(-100000000) %}{% endif %}",
        "{% if range(99999) | list | sum(start=[]) %}{% endif %}",
        LARGE + "{{ s | list }}",
    ],
)  # fmt: skip
def test_what_a_template_makes_on_the_way_is_bounded_too(source):
    """With one more doubling each it would be all of the memory, in the bridge's own process, at its start."""
    assert peak_mb(source) < MOST_MB


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (f"{{% for each in range(5) %}}{{% if {SLOW} %}}{{% endif %}}{{% endfor %}}", "go round more than 100000"),
        ("{% for each in range(99999) %}{% if range(50000) | join %}{% endif %}{% endfor %}", "go round more than"),
        ("{% set a = 9 %}" + "{% set a = a * a %}" * 22, "a number of more than 64 bits"),
        ("{% set a = 9 %}" + "{% set a = a + a %}" * 99, "a number of more than 64 bits"),
        ("{% if '" + "9" * 4000 + "' | int %}{% endif %}", "a number of more than 64 bits"),
    ],
)
def test_a_step_costs_little(source, reason):
    """Rounds within a filter count as a loop's, or each sample would take hours at the bridge's start."""
    begun = time.process_time()
    assert reason in fault(source).reason
    assert time.process_time() - begun < 1


def test_a_rendering_has_a_time_of_its_own_besides():
    """Whatever each step costs: here 90,000 searches through half a million letters."""
    search = LARGE + "{% for each in range(90000) %}{% if ('b' ~ each) in s or s < s %}{% endif %}{% endfor %}"
    begun = time.process_time()
    assert fault(search).reason in {
        f"it takes more than {MOST_CPU_S:g} s",
        f"it makes more than {MOST_MADE} characters on the way",
    }
    assert time.process_time() - begun < MOST_CPU_S + 1


def test_each_search_of_a_filter_looks_at_the_time():
    """One that tests thousands of items against half a million letters is one filter, and would go on and on."""
    items = "range(15000) | map('string') | map('replace', '', 'aaaaab')"
    source = LARGE + f"{{% if {items} | select('in', s) %}}{{% endif %}}"
    begun = time.process_time()
    assert fault(source).reason == f"it takes more than {MOST_CPU_S:g} s"
    assert time.process_time() - begun < MOST_CPU_S + 1
    plain = Template("{{ [1, 2, 3] | select('odd') | list }}{{ 'a' if x is not defined }}", escape=as_text)
    assert plain.render({}) == "[1, 3]a"


def test_a_template_of_a_usual_size_is_far_from_its_bounds():
    """A thousand sets of an assignment, as a table."""
    sets = [{"kit_code": f"KIT{number:06}", "product": "regular"} for number in range(1000)]
    source = "{% for each in sets | sort(attribute='kit_code') %}"
    source += "{{ loop.index }}: {{ each.kit_code ~ ' ' ~ each.product }}\n{% endfor %}"
    source += "{{ sets | map(attribute='kit_code') | map('lower') | join(', ') }}"
    made = Template(source, escape=as_text).render({"sets": sets})
    assert made.startswith("1: KIT000000 regular\n2: ")
    assert made.endswith(", kit000999")
    assert len(made) < LARGEST_TEXT / 10


@pytest.mark.parametrize(
    "source",
    [
        "{% set _steps = 1 %}", "{% set _limits = 1 %}", "{% for _limits in [1] %}{% endfor %}", "{{ _limits }}",
        "{% for a, _quotes in [[1, 2]] %}{% endfor %}", "{{ event.type | _own }}", "{{ [event.type] | map('_own') }}",
    ],
)  # fmt: skip
def test_a_template_cannot_wind_its_own_limits_back(source):
    """They are names like others, so no template has names like these."""
    assert fault(f"\n{source}").line == 2


def test_each_rendering_has_all_of_its_steps():
    """The second event is as good as the first."""
    template = Template(f"{{% for each in range({MOST_STEPS}) %}}{{% endfor %}}.", escape=as_text)
    with suppress(TemplateFault):
        Template(f"{{% for each in range({MOST_STEPS}) %}}{{% endfor %}}{{{{ 1 | abs }}}}", escape=as_text).render({})
    assert template.render({}) == template.render({}) == "."
