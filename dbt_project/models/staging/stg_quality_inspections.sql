{{ staged('quality_metrics') }}
