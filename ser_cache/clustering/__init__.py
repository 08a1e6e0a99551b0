"""What features are about, without training anything: k-means, and how clusters agree with labels.

`preparing` standardises time means and turns them to principal components, `partitioning` is k-means,
`silhouettes` and `measures` say how good the clusters are by themselves and beside labels (`labels`),
`running` joins them into an `outcome`; `cached` does so for the layers of cached features and keeps what it
finds (`storing`). Stage 2: reads the cache, imports scikit-learn when it runs and torch never.
"""

from ser_cache.clustering.cached import cluster
from ser_cache.clustering.labels import LABELS, label_sets
from ser_cache.clustering.measures import Agreement, agreement
from ser_cache.clustering.options import GLOBAL, ClusterOptions
from ser_cache.clustering.outcome import Clustering, Members, Trial
from ser_cache.clustering.running import cluster_points
from ser_cache.clustering.silhouettes import silhouettes
from ser_cache.clustering.storing import (
    ClusteringConfig,
    StoredClustering,
    read_clustering,
    stale_clusterings,
    stored_clusterings,
)

__all__ = [
    "GLOBAL",
    "LABELS",
    "Agreement",
    "ClusterOptions",
    "Clustering",
    "ClusteringConfig",
    "Members",
    "StoredClustering",
    "Trial",
    "agreement",
    "cluster",
    "cluster_points",
    "label_sets",
    "read_clustering",
    "silhouettes",
    "stale_clusterings",
    "stored_clusterings",
]
