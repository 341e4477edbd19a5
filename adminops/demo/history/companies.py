"""Who the customers are. Invented; the addresses are under `.example`, which nobody can register."""

from dataclasses import dataclass

# Price of a seat for a month, in minor units; a year costs ten months.
PLANS: dict[str, dict[str, int]] = {
    "Starter": {"usd": 1200, "eur": 1100, "jpy": 1500},
    "Team": {"usd": 2900, "eur": 2700, "jpy": 3800},
    "Scale": {"usd": 5900, "eur": 5500, "jpy": 7500},
}
# Not sold by the seat; in cents.
SUPPORT_YEARLY = 240_000
INTERVALS = {"month": 1, "year": 10}


@dataclass(frozen=True)
class Company:
    """A customer. It signed up `months` before its latest billing day, which was `billed` days ago."""

    name: str
    slug: str
    country: str
    currency: str
    plan: str
    interval: str
    seats: int
    """When it signed up."""
    months: int
    billed: int
    story: str
    """The name of a function in `stories`."""

    @property
    def email(self) -> str:
        """Where its invoices go."""
        return f"billing@{self.slug}.example"


COMPANIES: tuple[Company, ...] = (
    Company("Northwind Labs", "northwind-labs", "US", "usd", "Team", "month", 5, 16, 12, "northwind"),
    Company("Harborline Freight", "harborline", "US", "usd", "Scale", "month", 24, 17, 3, "steady"),
    Company("Blue Heron Analytics", "blue-heron", "US", "usd", "Team", "month", 9, 17, 21, "steady"),
    Company("Cobalt Robotics", "cobalt-robotics", "US", "usd", "Starter", "month", 4, 16, 7, "upgrades"),
    Company("Müller Käsemanufaktur GmbH", "mueller-kaese", "DE", "eur", "Team", "month", 7, 16, 26, "steady"),
    Company("Pinecrest Dental Group", "pinecrest-dental", "US", "usd", "Team", "year", 12, 16, 18, "steady"),
    Company(
        "O'Connor & Daughters Brewing", "oconnor-brewing", "IE", "eur", "Starter", "month", 6, 16, 9, "steady"
    ),
    Company(
        "Tidewater Insurance Partners", "tidewater", "US", "usd", "Scale", "year", 40, 15, 23, "buys_support"
    ),
    Company(
        "Redwood Legal LLP", "redwood-legal", "US", "usd", "Team", "month", 14, 15, 15, "refunded_in_part"
    ),
    Company("Hoshino Seisakusho", "hoshino", "JP", "jpy", "Team", "month", 10, 15, 19, "steady"),
    Company(
        "Copperfield Press", "copperfield", "GB", "usd", "Starter", "month", 3, 15, 11, "leaves_at_period_end"
    ),
    Company(
        "International Association of Independent Lighthouse Keepers and Coastal Navigators",
        "lighthouse-keepers",
        "US",
        "usd",
        "Starter",
        "year",
        15,
        14,
        8,
        "steady",
    ),
    Company(
        "Ljungström Industri AB", "ljungstrom", "SE", "eur", "Scale", "month", 18, 14, 24, "replaces_card"
    ),
    Company("Kestrel Aerospace", "kestrel-aero", "US", "usd", "Scale", "month", 32, 14, 16, "changes_mind"),
    Company("Lantern Street Studios", "lantern-street", "CA", "usd", "Team", "month", 8, 14, 2, "steady"),
    Company("Atelier Noémie", "atelier-noemie", "FR", "eur", "Starter", "month", 2, 13, 27, "steady"),
    Company("Ironbark Mining Supplies", "ironbark", "AU", "usd", "Team", "month", 20, 13, 6, "falls_behind"),
    Company("Summit Peak Outfitters", "summit-peak", "US", "usd", "Team", "month", 6, 13, 20, "downsizes"),
    Company("Sakura Denki KK", "sakura-denki", "JP", "jpy", "Scale", "month", 16, 13, 13, "steady"),
    Company("Quillon Software", "quillon", "US", "usd", "Team", "month", 11, 12, 22, "goes_yearly"),
    Company("Østergaard Marine ApS", "ostergaard-marine", "DK", "eur", "Team", "month", 9, 12, 5, "steady"),
    Company(
        "Sable & Finch Architects", "sable-finch", "GB", "usd", "Team", "month", 7, 12, 17, "trial_then_pays"
    ),
    Company(
        "Brightwater Schools Trust", "brightwater", "GB", "usd", "Team", "year", 30, 12, 25, "pays_by_invoice"
    ),
    Company(
        "Granite State Credit Union", "granite-state", "US", "usd", "Scale", "year", 45, 11, 10, "steady"
    ),
    Company("Aiko Sushi KK", "aiko-sushi", "JP", "jpy", "Team", "month", 6, 11, 5, "falls_behind"),
    Company("Halcyon Health", "halcyon", "US", "usd", "Scale", "month", 26, 11, 28, "refunded_in_full"),
    Company(
        "Castellón Cerámica S.L.", "castellon-ceramica", "ES", "eur", "Starter", "month", 5, 11, 14, "steady"
    ),
    Company("Meridian Mapworks", "meridian", "US", "usd", "Team", "month", 13, 10, 4, "steady"),
    Company("Paperboat Games", "paperboat", "US", "usd", "Team", "month", 8, 10, 18, "disputed"),
    Company(
        "Trattoria Belmonte S.r.l.", "belmonte", "IT", "eur", "Starter", "month", 3, 10, 7, "leaves_at_once"
    ),
    Company("Osprey Security", "osprey-security", "US", "usd", "Scale", "month", 22, 10, 26, "credited"),
    Company("Minato Shipping KK", "minato-shipping", "JP", "jpy", "Scale", "year", 35, 9, 12, "steady"),
    Company(
        "De Gouden Molen B.V.", "gouden-molen", "NL", "eur", "Team", "month", 6, 9, 21, "trial_then_pays"
    ),
    Company("Riverbend Media", "riverbend", "US", "usd", "Team", "month", 10, 9, 9, "upgrades"),
    Company(
        "Velvet Antler Records", "velvet-antler", "US", "usd", "Starter", "month", 2, 9, 16, "will_leave"
    ),
    Company("Saltmarsh Textiles", "saltmarsh", "GB", "usd", "Team", "month", 9, 8, 3, "steady"),
    Company("Wójcik i Synowie", "wojcik", "PL", "eur", "Starter", "month", 7, 8, 23, "steady"),
    Company("Yarrow Biotech", "yarrow-bio", "US", "usd", "Scale", "year", 28, 8, 11, "steady"),
    Company("Tamarind Travel", "tamarind", "US", "usd", "Team", "month", 5, 8, 8, "falls_behind"),
    Company("Grünwald Messtechnik", "gruenwald", "DE", "eur", "Scale", "month", 17, 7, 19, "replaces_card"),
    Company(
        "Juniper & Sage Catering",
        "juniper-sage",
        "US",
        "usd",
        "Starter",
        "month",
        4,
        7,
        25,
        "trial_then_pays",
    ),
    Company("Kitayama Onsen", "kitayama", "JP", "jpy", "Starter", "month", 8, 7, 6, "steady"),
    Company("Northgate Logistics", "northgate", "US", "usd", "Team", "month", 19, 6, 13, "will_leave"),
    Company("Société Lumière d'Été", "lumiere-ete", "FR", "eur", "Team", "month", 8, 6, 22, "steady"),
    Company("Fennel Kitchen Collective", "fennel", "US", "usd", "Starter", "month", 3, 6, 17, "collapses"),
    Company("Westbrook Surveyors", "westbrook", "GB", "usd", "Team", "month", 6, 6, 1, "steady"),
    Company("Tanuki Games KK", "tanuki", "JP", "jpy", "Team", "month", 9, 5, 10, "upgrades"),
    Company("Umber Design Co", "umber", "US", "usd", "Starter", "month", 2, 5, 24, "trial_then_pays"),
    Company("Kovács Nyomda Kft.", "kovacs", "HU", "eur", "Starter", "month", 5, 5, 4, "falls_behind"),
    Company("Maple Court Veterinary", "maple-court", "CA", "usd", "Team", "month", 7, 4, 15, "steady"),
    Company("Alpenblick Hotels AG", "alpenblick", "AT", "eur", "Team", "year", 21, 4, 20, "steady"),
    Company("Zephyr Cycling", "zephyr", "US", "usd", "Starter", "month", 4, 4, 7, "leaves_at_once"),
    Company("Orchard Lane Foods", "orchard-lane", "US", "usd", "Team", "month", 8, 3, 27, "credited"),
    Company("Pão de Açafrão Lda", "acafrao", "PT", "eur", "Starter", "month", 3, 3, 2, "falls_behind"),
    Company("Lindqvist & Holm", "lindqvist-holm", "SE", "eur", "Team", "year", 6, 2, 9, "will_leave"),
    Company(
        "Cedar & Rye Hospitality", "cedar-rye", "US", "usd", "Team", "month", 5, 2, 14, "trial_then_pays"
    ),
    Company("Bäckerei Schönfeld", "schoenfeld", "DE", "eur", "Starter", "month", 2, 1, 16, "trial_lapses"),
    Company("Glasswing Optics", "glasswing", "US", "usd", "Scale", "month", 12, 0, 9, "trialing"),
    Company("Hemlock Grove Capital", "hemlock-grove", "US", "usd", "Team", "year", 10, 0, 5, "trialing"),
    Company(
        "Fjordline Ferries AS", "fjordline", "NO", "eur", "Team", "month", 6, 0, 3, "trialing_without_card"
    ),
)
